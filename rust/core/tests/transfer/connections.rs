//! Which connections are made, kept, tried again and closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use outhaul_core::model::{Clock, ErrorCode, Now};
use outhaul_core::transfer::{AddressPolicy, Config};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::kit::*;

const BIG: usize = 16 * 1024 * 1024;

/// A server whose connections each answer `per_connection` requests and then close; and how many
/// connections there were.
async fn closing_after(per_connection: usize) -> (String, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let url = serve(move |mut stream, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            for _ in 0..per_connection {
                if read_request(&mut stream).await.is_none() {
                    return;
                }
                say(&mut stream, OK).await;
            }
        }
    })
    .await;
    (url, count)
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let kit = Kit::new(&bytes(100_000));
    let (url, count) = closing_after(usize::MAX).await;
    for _ in 0..5 {
        succeeded(kit.send(kit.raw(&url)).await);
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_is_about_the_connection_is_not_asked_again_over_it() {
    for status in ["408 Request Timeout", "421 Misdirected Request"] {
        let kit = Kit::new(b"hello");
        let url = serve(move |mut stream, number| async move {
            while read_request(&mut stream).await.is_some() {
                let no = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                say(&mut stream, if number == 0 { &no } else { OK }).await;
            }
        })
        .await;
        retried(kit.send(kit.raw(&url)).await, ErrorCode::HttpClientError);
        succeeded(kit.send(kit.raw(&url)).await);
    }
}

#[tokio::test]
async fn a_connection_of_another_network_is_not_used_again() {
    let kit = Kit::new(&bytes(100_000));
    let (url, count) = closing_after(usize::MAX).await;
    for _ in 0..3 {
        succeeded(kit.send(kit.raw(&url)).await);
        kit.transfers.forget_idle();
    }
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

/// A host that sleeps between two looks at the clock.
struct Suspended(AtomicI64);

impl Clock for Suspended {
    fn now(&self) -> Now {
        Now::at(self.0.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn a_connection_from_before_the_host_was_suspended_is_not_used_again() {
    let clock = Arc::new(Suspended(AtomicI64::new(1_000)));
    let config = Config { clock: clock.clone(), ..config() };
    let kit = Kit::with(config, &bytes(100_000));
    let (url, count) = closing_after(usize::MAX).await;
    for (passed_ms, connections) in [(0, 1), (10_000, 1), (3_600_000, 2)] {
        clock.0.fetch_add(passed_ms, Ordering::SeqCst);
        succeeded(kit.send(kit.raw(&url)).await);
        assert_eq!(count.load(Ordering::SeqCst), connections, "after {passed_ms} ms");
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closed_meanwhile_is_replaced() {
    let kit = Kit::new(&bytes(100_000));
    let (url, count) = closing_after(1).await;
    for _ in 0..5 {
        succeeded(kit.send(kit.raw(&url)).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(count.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn a_small_body_is_sent_again_where_a_kept_connection_is_lost_before_an_answer() {
    for body in [Vec::new(), bytes(100_000)] {
        let kit = Kit::new(&body);
        let (url, count) = answers_once_a_connection().await;
        succeeded(kit.send(kit.raw(&url)).await);
        succeeded(kit.send(kit.raw(&url)).await);
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test]
async fn a_large_body_that_was_begun_is_not_sent_again() {
    let kit = Kit::new(&bytes(4 << 20));
    let (url, count) = answers_once_a_connection().await;
    succeeded(kit.send(kit.raw(&url)).await);
    let failure = retried(kit.send(kit.raw(&url)).await, ErrorCode::NetworkError);
    assert!(failure.message.contains("closed the connection"), "{}", failure.message);
    assert_eq!(count.load(Ordering::SeqCst), 1, "the second upload was sent twice");
}

/// A server that takes two requests over each connection, and answers the first. How many there
/// were.
async fn answers_once_a_connection() -> (String, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let url = serve(move |mut stream, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            read_request(&mut stream).await.unwrap();
            say(&mut stream, OK).await;
            read_request(&mut stream).await.unwrap();
        }
    })
    .await;
    (url, count)
}

#[tokio::test]
async fn no_more_connections_are_kept_than_allowed() {
    let mut config = config();
    config.idle_per_host = 1;
    let kit = Kit::with(config, &bytes(1_000));
    let (url, count) = closing_after(usize::MAX).await;
    for _ in 0..2 {
        let (one, two) = tokio::join!(kit.send(kit.raw(&url)), kit.send(kit.raw(&url)));
        succeeded(one);
        succeeded(two);
    }
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn of_connections_to_many_hosts_the_oldest_is_closed() {
    let mut config = config();
    config.idle_max = 1;
    let kit = Kit::with(config, &bytes(1_000));
    let (one, ones) = closing_after(usize::MAX).await;
    let (other, others) = closing_after(usize::MAX).await;
    for url in [&one, &other, &other, &one] {
        succeeded(kit.send(kit.raw(url)).await);
    }
    assert_eq!((ones.load(Ordering::SeqCst), others.load(Ordering::SeqCst)), (2, 1));
}

#[tokio::test]
async fn dropping_an_upload_closes_its_connection_at_once() {
    // Once while the server takes nothing, once while we wait for the answer.
    for len in [BIG, 1_000] {
        let kit = Kit::new(&bytes(len));
        let (tell, mut closed) = mpsc::channel(1);
        let url = serve(move |mut stream, _| {
            let tell = tell.clone();
            async move {
                read_head(&mut stream).await.unwrap();
                tell.send("begun").await.unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
                drain(&mut stream).await;
                tell.send("closed").await.unwrap();
            }
        })
        .await;
        let mut upload = Box::pin(kit.transfers.upload(kit.raw(&url)));
        tokio::select! {
            outcome = &mut upload => panic!("{outcome:?}"),
            begun = closed.recv() => assert_eq!(begun, Some("begun")),
        }
        drop(upload);
        let word = tokio::time::timeout(Duration::from_secs(1), closed.recv()).await;
        assert_eq!(word.expect("closed within a second"), Some("closed"));
    }
}

#[tokio::test]
async fn what_cannot_be_reached_is_tried_again() {
    let kit = Kit::new(b"x");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let failure = retried(kit.send(kit.raw(&url)).await, ErrorCode::NetworkError);
    assert!(failure.message.contains("cannot connect to 127.0.0.1"), "{}", failure.message);
    let job = kit.raw("https://no-such-host.invalid/");
    let failure = retried(kit.send(job).await, ErrorCode::NetworkError);
    assert!(failure.message.contains("does not resolve"), "{}", failure.message);
}

#[tokio::test]
async fn a_name_is_judged_by_what_it_resolves_to() {
    let mut config = config();
    config.addresses = AddressPolicy::strict();
    let kit = Kit::with(config, b"x");
    let (url, seen) = answering(OK).await;
    for host in ["localhost", "a.localhost"] {
        let job = kit.raw(&url.replace("127.0.0.1", host));
        let failure = failed(kit.send(job).await, ErrorCode::SecurityViolation);
        assert!(failure.message.contains("address policy refuses"), "{}", failure.message);
    }
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_name_of_this_machine_reaches_it_at_whatever_address_it_listens() {
    let kit = Kit::new(b"x");
    let (url, seen) = answering(OK).await;
    succeeded(kit.send(kit.raw(&url.replace("127.0.0.1", "any.localhost"))).await);
    let port = url.rsplit(':').next().unwrap().trim_end_matches("/up");
    assert_eq!(seen.lock().unwrap()[0].header("host"), Some(&*format!("any.localhost:{port}")));
}
