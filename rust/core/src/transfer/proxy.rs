//! The proxies that the environment names.

use http::{HeaderValue, Uri};
use url::Host;

use super::attempt_error::AttemptError;
use super::proxy_env::ProxyEnv;
use super::target::Target;
use crate::model::ErrorCode;

/// Which proxy a target is reached through.
pub(crate) struct Proxies {
    env: Option<ProxyEnv>,
}

/// One proxy. Its credentials are never shown.
pub(crate) struct Proxy {
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) is_secure: bool,
    /// The value of `Proxy-Authorization`.
    pub(crate) authorization: Option<HeaderValue>,
}

impl Proxies {
    /// None at all.
    pub(crate) const fn none() -> Self {
        Self { env: None }
    }

    /// What the environment says now.
    pub(crate) fn from_env() -> Self {
        let unreadable = |_| char::REPLACEMENT_CHARACTER.to_string();
        let variable = |name: &str| {
            std::env::var_os(name).map(|value| value.into_string().unwrap_or_else(unreadable))
        };
        Self { env: ProxyEnv::read(variable) }
    }

    #[cfg(test)]
    pub(crate) fn of(all: &str) -> Self {
        Self { env: ProxyEnv::read(|name| (name == "ALL_PROXY").then(|| all.to_owned())) }
    }

    /// The proxy for `target`; never one for a loopback target.
    pub(crate) fn route(&self, target: &Target) -> Result<Option<Proxy>, AttemptError> {
        let Some(env) = self.env.as_ref().filter(|_| !target.is_loopback()) else {
            return Ok(None);
        };
        if env.is_direct(target.host(), target.port()) {
            return Ok(None);
        }
        let uri = target.origin().parse::<Uri>().ok();
        let Some(found) = uri.and_then(|uri| env.matcher.intercept(&uri)) else { return Ok(None) };
        let uri = found.uri().clone();
        let is_secure = uri.scheme_str() == Some("https");
        let host = uri.host().and_then(|host| Host::parse(host).ok());
        let (true, Some(host)) = (is_secure || uri.scheme_str() == Some("http"), host) else {
            let message = "the environment names a proxy that is neither http:// nor https://, or \
                           whose address cannot be read: look at HTTP_PROXY, HTTPS_PROXY, ALL_PROXY";
            return Err(AttemptError::failed(ErrorCode::NetworkError, message));
        };
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        Ok(Some(Proxy { host, port, is_secure, authorization: found.basic_auth().cloned() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::AddressPolicy;

    fn target(url: &str) -> Target {
        Target::parse(url, true, &AddressPolicy::permissive()).unwrap()
    }

    fn proxies(all: &str, no: &str) -> Proxies {
        env(&[("ALL_PROXY", all), ("NO_PROXY", no)])
    }

    fn env(variables: &[(&str, &str)]) -> Proxies {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Proxies { env: ProxyEnv::read(variable) }
    }

    /// The proxy that a target is reached through: its host, port and credentials.
    fn way(proxies: &Proxies, url: &str) -> Option<(String, u16, Option<String>)> {
        let found = proxies.route(&target(url)).unwrap()?;
        let said = found.authorization.map(|value| value.to_str().unwrap().to_owned());
        Some((found.host.to_string(), found.port, said))
    }

    #[test]
    fn a_loopback_target_is_never_proxied() {
        let all = proxies("http://proxy.example:3128", "");
        for url in ["http://localhost/", "http://127.0.0.1:8080/", "https://[::1]/"] {
            assert!(all.route(&target(url)).unwrap().is_none(), "{url}");
        }
        let proxy = all.route(&target("https://files.example/")).unwrap().unwrap();
        assert_eq!((proxy.host.to_string(), proxy.port), ("proxy.example".to_owned(), 3128));
        let except = proxies("http://proxy.example", "files.example");
        assert!(except.route(&target("https://files.example/")).unwrap().is_none());
        assert!(Proxies::none().route(&target("https://files.example/")).unwrap().is_none());
    }

    #[test]
    fn a_proxy_that_we_cannot_speak_to_is_not_passed_by() {
        for address in [
            "socks5://proxy.example:1080",
            "socks://proxy.example:1080",
            "ftp://proxy.example",
            "http://bob:hunt#er22@proxy.example",
            "http://proxy.example:99999",
            "http://",
            "://",
            "\u{fffd}",
        ] {
            let proxies = proxies(address, "other.example");
            let Err(AttemptError::Failed(failure)) =
                proxies.route(&target("https://files.example/"))
            else {
                panic!("{address}")
            };
            assert!(!failure.message.contains("bob"), "{}", failure.message);
            assert!(proxies.route(&target("https://other.example/")).unwrap().is_none());
        }
    }

    #[test]
    fn an_address_is_read_however_it_is_spelled() {
        let (host, basic) = ("proxy.example".to_owned(), "Basic Ym9iOnBAc3M=".to_owned());
        for (address, port, said) in [
            ("proxy.example:3128", 3128, None),
            ("proxy.example:3128/", 3128, None),
            (" http://proxy.example:3128 ", 3128, None),
            ("http://proxy.example:3128/path?a=b", 3128, None),
            ("https://proxy.example", 443, None),
            ("http://bob:p@ss@proxy.example", 80, Some(&basic)),
            ("http://bob:p%40ss@proxy.example", 80, Some(&basic)),
        ] {
            let found = way(&proxies(address, ""), "https://files.example/");
            assert_eq!(found, Some((host.clone(), port, said.cloned())), "{address}");
        }
    }

    #[test]
    fn the_scheme_decides_and_what_is_empty_says_nothing() {
        let some = env(&[("HTTP_PROXY", " "), ("http_proxy", "a"), ("HTTPS_PROXY", "b")]);
        let host = |url: &str| way(&some, url).map(|found| found.0);
        assert_eq!(host("http://files.example/"), Some("a".to_owned()));
        assert_eq!(host("https://files.example/"), Some("b".to_owned()));
        let script = env(&[("HTTP_PROXY", "a"), ("REQUEST_METHOD", "GET")]);
        assert_eq!(way(&script, "http://files.example/"), None);
    }

    #[test]
    fn an_exception_may_name_a_port_or_be_all_there_is() {
        for (no, url, is_direct) in [
            ("*", "http://192.0.2.2:8080/", true),
            ("a.example, *", "https://files.example/", true),
            ("192.0.2.2:8080", "http://192.0.2.2:8080/", true),
            ("192.0.2.2:8080", "http://192.0.2.2:8081/", false),
            ("192.0.2.0/24", "http://192.0.2.2:8081/", true),
            ("Files.example:443", "https://files.example/", true),
            ("example:443", "https://files.example/", true),
            (".example:443", "https://files.example/", true),
            ("les.example:443", "https://files.example/", false),
            ("2.2:8080", "http://192.0.2.2:8080/", false),
            ("[2001:db8::1]:80", "http://[2001:db8::1]/", true),
            ("[2001:db8::1]:81", "http://[2001:db8::1]/", false),
        ] {
            let found = way(&proxies("proxy.example", no), url);
            assert_eq!(found.is_none(), is_direct, "{no} {url}");
        }
    }
}
