//! Most uploads of a manager go to one address: it is read once for all that follow each other.

use std::sync::{Arc, Mutex};

use super::guard::AddressPolicy;
use super::target::Target;
use crate::model::Fault;
use crate::sync;

/// Reads targets under one policy, and remembers the last.
pub struct Targets {
    addresses: AddressPolicy,
    // LOCKING: held for a comparison or an assignment.
    last: Mutex<Option<Known>>,
}

/// What was read, of what.
struct Known {
    url: String,
    allow_http: bool,
    target: Arc<Target>,
}

impl Targets {
    /// Under that policy, which never changes.
    pub fn new(addresses: AddressPolicy) -> Self {
        Self { addresses, last: Mutex::new(None) }
    }

    /// As [`Target::parse`].
    pub fn read(&self, url: &str, allow_http: bool) -> Result<Arc<Target>, Fault> {
        if let Some(known) = self.known(url, allow_http) {
            return Ok(known);
        }
        let target = Arc::new(Target::parse(url, allow_http, &self.addresses)?);
        let known = Known { url: url.to_owned(), allow_http, target: Arc::clone(&target) };
        *sync::lock(&self.last) = Some(known);
        Ok(target)
    }

    fn known(&self, url: &str, allow_http: bool) -> Option<Arc<Target>> {
        let last = sync::lock(&self.last);
        let known = last.as_ref()?;
        let is_same = known.allow_http == allow_http && known.url == url;
        is_same.then(|| Arc::clone(&known.target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_follows_itself_is_read_once() {
        let targets = Targets::new(AddressPolicy::permissive());
        let read = |url| targets.read(url, false).unwrap();
        let (first, second) = (read("https://a.example/x"), read("https://a.example/x"));
        assert!(Arc::ptr_eq(&first, &second));
        let other = read("https://b.example/x");
        assert_eq!(
            (first.origin(), other.origin()),
            ("https://a.example:443", "https://b.example:443")
        );
        assert!(!Arc::ptr_eq(&first, &read("https://a.example/x")));
    }

    #[test]
    fn what_was_allowed_for_one_is_not_for_another() {
        let targets = Targets::new(AddressPolicy::permissive());
        let url = "http://a.example/";
        assert!(targets.read(url, false).is_err());
        assert!(targets.read(url, true).is_ok());
        assert!(targets.read(url, false).is_err());
    }
}
