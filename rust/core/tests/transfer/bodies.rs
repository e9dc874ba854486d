//! The body is exact, or it is nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use outhaul_core::model::ErrorCode;
use tokio::sync::Notify;

use crate::kit::*;

/// More than the sockets of both sides hold, so that a server that waits stops the client.
const BIG: usize = 16 * 1024 * 1024;

#[tokio::test]
async fn a_raw_upload_is_the_file() {
    for len in [0, 1, 65_535, 65_536, 65_537, 300_000] {
        let kit = Kit::new(&bytes(len));
        let (url, seen) = answering(OK).await;
        let success = succeeded(kit.send(kit.raw(&url)).await);
        assert_eq!((success.http_status, success.body), (Some(200), b"ok".to_vec()));
        assert_eq!(success.bytes_sent, u64::try_from(len).unwrap());
        assert_eq!(kit.sent.last.load(Ordering::SeqCst), success.bytes_sent);
        let seen = seen.lock().unwrap();
        assert_eq!(seen[0].body, bytes(len));
        assert!(seen[0].head.starts_with("POST /up HTTP/1.1\r\n"), "{}", seen[0].head);
        assert_eq!(seen[0].header("transfer-encoding"), None);
        assert_eq!(seen[0].header("idempotency-key"), Some("\"key-1\""));
        assert_eq!(seen[0].header("content-type"), Some("application/octet-stream"));
    }
}

#[tokio::test]
async fn a_form_is_what_the_encoder_says_in_any_frame_size() {
    for len in [0, 10, 65_500, 200_000] {
        let kit = Kit::new(&bytes(len));
        let (url, seen) = answering(OK).await;
        let job = kit.form(&url);
        let (kind, total) = (job.encoder.content_type(), job.encoder.content_length());
        succeeded(kit.send(job).await);
        let seen = seen.lock().unwrap();
        assert_eq!(seen[0].header("content-type"), kind.as_deref());
        assert_eq!(u64::try_from(seen[0].body.len()).unwrap(), total);
        let file = bytes(len);
        assert!(len == 0 || seen[0].body.windows(len).any(|window| window == file));
        assert!(seen[0].body.ends_with(b"--\r\n"));
    }
}
