"""The native half of outhaul. Everything here is private: the public names are in `outhaul`."""
