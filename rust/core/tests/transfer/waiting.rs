//! How long is too long.

use std::time::{Duration, Instant};

use outhaul_core::model::ErrorCode;
use outhaul_core::model::outcome::RESPONSE_BYTES_MAX;
use tokio::io::AsyncReadExt;

use crate::kit::*;

const BIG: usize = 16 * 1024 * 1024;

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

async fn times_out(kit: &Kit, url: &str, phase: &str, least: Duration) {
    let start = Instant::now();
    let failure = retried(kit.send(kit.raw(url)).await, ErrorCode::Timeout);
    assert!(failure.message.contains("timeout"), "{}", failure.message);
    assert!(failure.message.contains(phase), "{}", failure.message);
    let took = start.elapsed();
    assert!(took >= least && took < least * 2 + millis(500), "{took:?}");
}

#[tokio::test]
async fn a_server_that_takes_nothing_is_a_stall() {
    let mut kit = Kit::new(&bytes(BIG));
    kit.timeouts.stall = millis(200);
    let url = serve(|stream, _| async move {
        tokio::time::sleep(millis(5_000)).await;
        drop(stream);
    })
    .await;
    times_out(&kit, &url, "sending", millis(200)).await;
}

#[tokio::test]
async fn a_server_that_is_slow_is_no_stall() {
    let mut kit = Kit::new(&bytes(BIG));
    kit.timeouts.stall = millis(150);
    let url = serve(|mut stream, _| async move {
        let seen = read_head(&mut stream).await.unwrap();
        let mut missing = seen.content_length() - seen.body.len();
        let mut buffer = vec![0; 1024 * 1024];
        while missing > 0 {
            tokio::time::sleep(millis(20)).await;
            let most = missing.min(buffer.len());
            let read = stream.read_exact(&mut buffer[..most]).await.unwrap();
            missing -= read;
        }
        say(&mut stream, OK).await;
    })
    .await;
    let start = Instant::now();
    succeeded(kit.send(kit.raw(&url)).await);
    assert!(start.elapsed() > millis(200), "not slow enough to prove anything");
}

#[tokio::test]
async fn a_server_that_never_answers_is_a_timeout() {
    let mut kit = Kit::new(&bytes(1_000));
    kit.timeouts.response = millis(150);
    let url = serve(|mut stream, _| async move {
        drain(&mut stream).await;
    })
    .await;
    times_out(&kit, &url, "answer", millis(150)).await;
}

#[tokio::test]
async fn an_answer_that_never_ends_is_a_timeout() {
    let mut kit = Kit::new(&bytes(1_000));
    kit.timeouts.response = millis(200);
    let url = serve(|mut stream, _| async move {
        read_request(&mut stream).await.unwrap();
        say(&mut stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        for _ in 0..100 {
            say(&mut stream, "1\r\nx\r\n").await;
            tokio::time::sleep(millis(20)).await;
        }
    })
    .await;
    times_out(&kit, &url, "answer", millis(200)).await;
}

#[tokio::test]
async fn a_yes_that_is_longer_than_what_is_kept_need_not_end() {
    for goes_on in [true, false] {
        let mut kit = Kit::new(&bytes(1_000));
        kit.timeouts.response = millis(200);
        let url = serve(move |mut stream, _| async move {
            read_request(&mut stream).await.unwrap();
            let long = "y".repeat(RESPONSE_BYTES_MAX + 1);
            say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n").await;
            say(&mut stream, &long).await;
            if goes_on {
                tokio::time::sleep(millis(5_000)).await;
            }
        })
        .await;
        let success = succeeded(kit.send(kit.raw(&url)).await);
        assert_eq!((success.body.len(), success.body_truncated), (RESPONSE_BYTES_MAX, true));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_interim_answers_holds_up_no_time_out() {
    let mut kit = Kit::new(&bytes(1_000));
    kit.timeouts.response = millis(200);
    let url = serve(|mut stream, _| async move {
        read_request(&mut stream).await.unwrap();
        let flood = "HTTP/1.1 100 Continue\r\n\r\n".repeat(4_000);
        while tokio::io::AsyncWriteExt::write_all(&mut stream, flood.as_bytes()).await.is_ok() {}
    })
    .await;
    // Noticed between two bursts, which take long where nothing is optimised.
    let failure = retried(kit.send(kit.raw(&url)).await, ErrorCode::Timeout);
    assert!(failure.message.contains("answer"), "{}", failure.message);
}

#[tokio::test]
async fn a_refusal_whose_text_never_ends_is_still_a_refusal() {
    let mut kit = Kit::new(&bytes(BIG));
    kit.timeouts.response = millis(200);
    let url = serve(|mut stream, _| async move {
        read_head(&mut stream).await.unwrap();
        say(&mut stream, "HTTP/1.1 403 No\r\nContent-Length: 100\r\n\r\nbe").await;
        tokio::time::sleep(millis(5_000)).await;
    })
    .await;
    let start = Instant::now();
    failed(kit.send(kit.raw(&url)).await, ErrorCode::HttpClientError);
    assert!(start.elapsed() < millis(1_000));
}

#[tokio::test]
async fn the_time_to_connect_includes_the_encryption() {
    let mut kit = Kit::new(b"x");
    kit.timeouts.connect = millis(150);
    let url = serve(|mut stream, _| async move {
        drain(&mut stream).await;
    })
    .await;
    times_out(&kit, &url.replace("http:", "https:"), "connecting", millis(150)).await;
}
