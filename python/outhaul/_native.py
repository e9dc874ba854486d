"""The one door to the native core: nothing else imports `outhaul._core`."""
