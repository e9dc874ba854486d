//! What the user asked for, as it is stored: the wire form of `outhaul.wire.TaskSpec`.
//!
//! Python checks types and shape and encodes it as `MessagePack`; these Structs read it. The stored
//! bytes never change, so a retry re-runs exactly what was enqueued. Durations are milliseconds.
//!
//! Members are told apart by their position, since their names would take half of the room and of
//! the time: a new one may only be added at the end of its struct, with a default.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::clock::UnixMillis;
use super::constraint::{BATTERY_NOT_LOW, NETWORK, Needs};
use super::tagged::{self, Tagged};

/// One task as the user described it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The user's id, unique among live tasks; `None` lets outhaul make one.
    pub task_id: Option<String>,
    /// What does the work.
    pub worker: WorkerSpec,
    /// When.
    pub trigger: TriggerSpec,
    /// Under which conditions.
    pub constraints: ConstraintsSpec,
    /// What to do when the id is taken by a live task.
    pub existing_policy: ExistingPolicy,
    /// What to do when an attempt fails.
    pub retry: RetrySpec,
    /// A label shared by related tasks.
    pub tag: Option<String>,
    /// Larger goes first among ready tasks of a lane.
    pub priority: i32,
}

impl TaskSpec {
    /// Reads it as Python writes it: members by position. By name, too, as stores may have it.
    pub fn read(encoded: &[u8]) -> Result<Self, rmp_serde::decode::Error> {
        rmp_serde::from_slice(encoded)
    }
}

/// What does the work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WorkerSpec {
    /// Sends a file over HTTP, natively.
    HttpUpload(HttpUploadSpec),
    /// Runs a registered Python callback.
    Python(PythonSpec),
}

/// A file upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpUploadSpec {
    /// Where to: `https://…`, or `http://…` where that is allowed.
    pub url: String,
    /// What: an absolute path.
    pub file_path: String,
    /// `POST` or `PUT`.
    pub method: UploadMethod,
    /// How the file travels.
    pub body: BodyKind,
    /// The form field that carries the file.
    pub field_name: String,
    /// The name told to the server; `None` is the file's own base name.
    pub file_name: Option<String>,
    /// The media type told to the server; `None` is guessed from the name.
    pub mime_type: Option<String>,
    /// Request headers, in order.
    #[serde(deserialize_with = "pairs")]
    pub headers: Vec<(String, HeaderValueSpec)>,
    /// Form fields sent before the file, in order.
    #[serde(deserialize_with = "pairs")]
    pub fields: Vec<(String, String)>,
    /// At most this long for a connection.
    pub connect_timeout_ms: u64,
    /// At most this long without a byte moving while the body is sent.
    pub stall_timeout_ms: u64,
    /// At most this long from the last byte sent to the answer.
    pub response_timeout_ms: u64,
}

/// Names and values, written as a list of pairs or as a map.
fn pairs<'de, V, D>(deserializer: D) -> Result<Vec<(String, V)>, D::Error>
where
    V: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct Pairs<V>(PhantomData<V>);

    impl<'de, V: Deserialize<'de>> Visitor<'de> for Pairs<V> {
        type Value = Vec<(String, V)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("pairs of a name and a value, or a map")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(pair) = list.next_element()? {
                pairs.push(pair);
            }
            Ok(pairs)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(pair) = map.next_entry()? {
                pairs.push(pair);
            }
            Ok(pairs)
        }
    }

    deserializer.deserialize_any(Pairs(PhantomData))
}

/// The HTTP method of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum UploadMethod {
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
}

/// How the file travels in the request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyKind {
    /// `multipart/form-data` (RFC 7578), with the extra fields.
    Multipart,
    /// The bytes of the file and nothing else.
    Raw,
}

/// A header's value: text, or a reference to a secret that is resolved for each attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HeaderValueSpec {
    /// Stored as it is.
    Text(String),
    /// Only the reference is stored.
    Secret(SecretRef),
}

/// Where a secret's value is found, never the value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SecretRef {
    /// Where it lives.
    pub source: SecretSource,
    /// The variable, the file, or the name the provider is asked for.
    pub name: String,
    /// Put before the value, e.g. `"Bearer "`.
    pub prefix: String,
}

/// Where a secret lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// An environment variable.
    Env,
    /// A file's contents, without a trailing newline.
    File,
    /// A callable given to the manager.
    Provider,
}

/// A Python callback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PythonSpec {
    /// The name it is registered under.
    pub callback_id: String,
    /// Its argument, encoded by Python; opaque here.
    #[serde(with = "serde_bytes")]
    pub input: Vec<u8>,
}

impl<'de> Deserialize<'de> for WorkerSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        tagged::read(deserializer)
    }
}

impl<'de> Tagged<'de> for WorkerSpec {
    fn members<D: Deserializer<'de>>(tag: &str, members: D) -> Result<Self, D::Error> {
        match tag {
            "http_upload" => HttpUploadSpec::deserialize(members).map(Self::HttpUpload),
            "python" => PythonSpec::deserialize(members).map(Self::Python),
            _ => Err(D::Error::unknown_variant(tag, &["http_upload", "python"])),
        }
    }
}

/// When a task runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TriggerSpec {
    /// Once, after a delay.
    OneTime {
        /// Counted from the enqueue.
        initial_delay_ms: i64,
    },
}

impl<'de> Deserialize<'de> for TriggerSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        tagged::read(deserializer)
    }
}

impl<'de> Tagged<'de> for TriggerSpec {
    fn members<D: Deserializer<'de>>(tag: &str, members: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct OneTime {
            initial_delay_ms: i64,
        }
        match tag {
            "one_time" => OneTime::deserialize(members)
                .map(|OneTime { initial_delay_ms }| Self::OneTime { initial_delay_ms }),
            _ => Err(D::Error::unknown_variant(tag, &["one_time"])),
        }
    }
}

impl TriggerSpec {
    /// When the task is due, counted from `now`.
    pub fn due(&self, now: UnixMillis) -> UnixMillis {
        match self {
            Self::OneTime { initial_delay_ms } => now.saturating_add(*initial_delay_ms),
        }
    }
}

/// Under which conditions a task runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConstraintsSpec {
    /// The network it needs; `None` is the worker's default: `connected` for HTTP, none otherwise.
    pub network_type: Option<NetworkType>,
    /// Whether it waits while the battery is low.
    #[serde(default)]
    pub battery_not_low: bool,
}

impl ConstraintsSpec {
    /// The constraint bits of a task whose worker needs a network, or could do without one.
    pub fn needs(&self, network: bool) -> Needs {
        let network = if network { NETWORK } else { 0 };
        network | if self.battery_not_low { BATTERY_NOT_LOW } else { 0 }
    }
}

/// A kind of network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkType {
    /// Runs without one.
    NotRequired,
    /// Any network.
    Connected,
}

/// What to do when the id is taken by a live task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExistingPolicy {
    /// Leave the stored task exactly as it is.
    Keep,
    /// Cancel it and store the new one.
    Replace,
}

/// What to do when an attempt fails.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetrySpec {
    /// Retries after the first attempt; 0 is none.
    pub max_retries: u32,
    /// The wait before the first retry.
    pub initial_delay_ms: i64,
    /// What each further wait is multiplied by; at least 1.
    pub multiplier: f64,
    /// No wait is longer than this, unless the server asks for it.
    pub max_delay_ms: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specification_is_read_by_position_and_by_name() {
        let secret = SecretRef {
            source: SecretSource::Env,
            name: "TOKEN".to_owned(),
            prefix: "Bearer ".to_owned(),
        };
        let upload = HttpUploadSpec {
            url: "https://example.org/up".to_owned(),
            file_path: "/data/a.jpg".to_owned(),
            method: UploadMethod::Put,
            body: BodyKind::Multipart,
            field_name: "file".to_owned(),
            file_name: None,
            mime_type: Some("image/jpeg".to_owned()),
            headers: vec![
                ("Authorization".to_owned(), HeaderValueSpec::Secret(secret)),
                ("X-Id".to_owned(), HeaderValueSpec::Text("7".to_owned())),
            ],
            fields: vec![("album".to_owned(), "all".to_owned())],
            connect_timeout_ms: 1,
            stall_timeout_ms: 2,
            response_timeout_ms: 3,
        };
        let python = PythonSpec { callback_id: "resize".to_owned(), input: vec![1, 2] };
        for worker in [WorkerSpec::HttpUpload(upload), WorkerSpec::Python(python)] {
            let spec = TaskSpec {
                task_id: Some("a".to_owned()),
                worker,
                trigger: TriggerSpec::OneTime { initial_delay_ms: 5 },
                constraints: ConstraintsSpec { network_type: None, battery_not_low: true },
                existing_policy: ExistingPolicy::Replace,
                retry: RetrySpec {
                    max_retries: 3,
                    initial_delay_ms: 4,
                    multiplier: 1.5,
                    max_delay_ms: 6,
                },
                tag: None,
                priority: -7,
            };
            let (placed, named) =
                (rmp_serde::to_vec(&spec).unwrap(), rmp_serde::to_vec_named(&spec).unwrap());
            assert!(placed.len() < named.len() / 2);
            assert_eq!(TaskSpec::read(&placed).unwrap(), spec);
            assert_eq!(TaskSpec::read(&named).unwrap(), spec);
        }
    }
}
