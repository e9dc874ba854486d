//! The body is exact, or it is nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use outhaul_core::model::{ErrorCode, Failure};
use outhaul_core::transfer::Upload;
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

#[tokio::test]
async fn a_file_that_is_not_in_memory_is_sent_as_well() {
    use rustix::fs::{Advice, fadvise};
    let kit = Kit::new(&bytes(1_000_000));
    let file = std::fs::File::open(kit.path()).unwrap();
    file.sync_all().unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    let (url, seen) = answering(OK).await;
    succeeded(kit.send(kit.raw(&url)).await);
    assert_eq!(seen.lock().unwrap()[0].body, bytes(1_000_000));
}

#[tokio::test]
async fn the_observer_hears_every_write_and_the_sum() {
    let kit = Kit::new(&bytes(BIG));
    let (url, _) = answering(OK).await;
    succeeded(kit.send(kit.raw(&url)).await);
    assert_eq!(kit.sent.last.load(Ordering::SeqCst), u64::try_from(BIG).unwrap());
    assert!(kit.sent.calls.load(Ordering::SeqCst) >= BIG / (64 * 1024));
    assert!(kit.sent.is_ascending.load(Ordering::SeqCst));
}

/// Changes the file while the server, which has seen the head, takes nothing more. Says what the
/// attempt said, and checks that no complete body arrived.
async fn changed_under_way(change: impl FnOnce(&Kit)) -> Failure {
    let kit = Kit::new(&bytes(BIG));
    let (begun, resume) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let arrived = Arc::new(AtomicUsize::new(usize::MAX));
    let (tell, wait, count) = (Arc::clone(&begun), Arc::clone(&resume), Arc::clone(&arrived));
    let done = Arc::new(Notify::new());
    let closed = Arc::clone(&done);
    let url = serve(move |mut stream, _| {
        let (tell, wait) = (Arc::clone(&tell), Arc::clone(&wait));
        let (count, closed) = (Arc::clone(&count), Arc::clone(&closed));
        async move {
            let seen = read_head(&mut stream).await.unwrap();
            tell.notify_one();
            wait.notified().await;
            count.store(seen.body.len() + drain(&mut stream).await, Ordering::SeqCst);
            closed.notify_one();
        }
    })
    .await;
    let sending = kit.send(kit.raw(&url));
    let changing = async {
        begun.notified().await;
        change(&kit);
        resume.notify_one();
    };
    let (outcome, ()) = tokio::join!(sending, changing);
    done.notified().await;
    assert!(arrived.load(Ordering::SeqCst) < BIG, "the server has a complete body");
    failed(outcome, ErrorCode::SourceChanged)
}

#[tokio::test]
async fn a_file_that_grows_under_way_is_not_sent() {
    let failure = changed_under_way(|kit| kit.append(b"more")).await;
    assert!(failure.message.contains("grew"), "{}", failure.message);
}

#[tokio::test]
async fn a_file_that_shrinks_under_way_is_not_sent() {
    let shrink = |kit: &Kit| {
        let file = std::fs::File::options().write(true).open(kit.path());
        file.unwrap().set_len(1_000).unwrap();
    };
    let failure = changed_under_way(shrink).await;
    assert!(failure.message.contains("shrank"), "{}", failure.message);
}

#[tokio::test]
async fn a_file_that_is_rewritten_under_way_is_not_sent() {
    let rewrite = |kit: &Kit| std::fs::write(kit.path(), vec![9; BIG]).unwrap();
    let failure = changed_under_way(rewrite).await;
    assert!(failure.message.contains("rewritten"), "{}", failure.message);
}

#[tokio::test]
async fn a_file_that_changed_before_is_not_even_announced() {
    let kit = Kit::new(&bytes(BIG));
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    let url = serve(move |mut stream, _| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            drain(&mut stream).await;
        }
    })
    .await;
    let job = kit.raw(&url);
    kit.append(b"more");
    let job = Upload { source: Arc::new(kit.source()), ..job };
    failed(kit.send(job).await, ErrorCode::SourceChanged);
    assert_eq!(accepted.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_the_socket_has_not_taken_is_not_counted() {
    let mut kit = Kit::new(&bytes(BIG));
    kit.timeouts.stall = std::time::Duration::from_millis(200);
    let arrived = Arc::new(AtomicUsize::new(0));
    let (count, done) = (Arc::clone(&arrived), Arc::new(Notify::new()));
    let told = Arc::clone(&done);
    let url = serve(move |mut stream, _| {
        let (count, done) = (Arc::clone(&count), Arc::clone(&done));
        async move {
            tokio::time::sleep(std::time::Duration::from_millis(400)).await;
            let seen = read_head(&mut stream).await.unwrap();
            count.store(seen.body.len() + drain(&mut stream).await, Ordering::SeqCst);
            done.notify_one();
        }
    })
    .await;
    retried(kit.send(kit.raw(&url)).await, ErrorCode::Timeout);
    told.notified().await;
    let arrived = u64::try_from(arrived.load(Ordering::SeqCst)).unwrap();
    assert_eq!(kit.sent.last.load(Ordering::SeqCst), arrived);
}
