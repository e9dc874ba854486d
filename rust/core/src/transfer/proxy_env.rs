//! Proxy settings from the environment. One that cannot be read is an error, never ignored: bytes
//! meant for a proxy must not go another way.

use hyper_util::client::proxy::matcher::Matcher;
use url::{Host, Url};

/// What stands for an address that cannot be read: one that no proxy of ours has.
const UNREADABLE: &str = "socks5://unreadable.invalid";

/// The settings, as they are asked.
pub(super) struct ProxyEnv {
    pub(super) matcher: Matcher,
    /// Targets that need none, by host and port: beside what the matcher knows.
    pub(super) direct: Vec<(String, u16)>,
}

impl ProxyEnv {
    /// What `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say, in either case. `None`
    /// where no proxy is to be used at all: all targets are excepted; or it is a CGI script, whose
    /// client could set one by a header. SOURCE: <https://httpoxy.org>.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let first = |names: [&str; 2]| {
            let said = names.into_iter().filter_map(&variable);
            said.map(|value| value.trim().to_owned()).find(|value| !value.is_empty())
        };
        let address = |names| first(names).map_or_else(String::new, |value| readable(&value));
        let no = first(["NO_PROXY", "no_proxy"]).unwrap_or_default();
        let entries = || no.split(',').map(str::trim);
        if variable("REQUEST_METHOD").is_some() || entries().any(|entry| entry == "*") {
            return None;
        }
        let matcher = Matcher::builder()
            .all(address(["ALL_PROXY", "all_proxy"]))
            .http(address(["HTTP_PROXY", "http_proxy"]))
            .https(address(["HTTPS_PROXY", "https_proxy"]))
            .no(no.clone())
            .build();
        Some(Self { matcher, direct: entries().filter_map(host_and_port).collect() })
    }

    /// Whether a target is excepted by its port.
    pub(super) fn is_direct(&self, host: &Host<String>, port: u16) -> bool {
        let means = |name: &str| match host {
            Host::Domain(host) => {
                let above = host.strip_suffix(name.strip_prefix('.').unwrap_or(name));
                above.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            address => address.to_string() == name,
        };
        self.direct.iter().any(|(name, only)| *only == port && means(name))
    }
}

/// The address of a proxy, spelled so that the matcher understands it.
fn readable(value: &str) -> String {
    let whole = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    match Url::parse(&whole) {
        Ok(mut url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            url.set_path("");
            url.set_query(None);
            url.set_fragment(None);
            url.into()
        }
        _ => UNREADABLE.to_owned(),
    }
}

/// An exception of a port: `host:port`, with an IPv6 address in brackets.
fn host_and_port(entry: &str) -> Option<(String, u16)> {
    let (host, port) = entry.rsplit_once(':')?;
    let is_one = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
    let port = port.parse().ok().filter(|_| is_one && !host.is_empty())?;
    Some((host.to_ascii_lowercase(), port))
}
