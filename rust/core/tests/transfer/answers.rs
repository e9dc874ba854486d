//! What a server says counts, whenever and however it says it.

use outhaul_core::model::ErrorCode;
use outhaul_core::model::outcome::RESPONSE_BYTES_MAX;
use outhaul_core::transfer::ResolvedHeader;

use crate::kit::*;

const BIG: usize = 16 * 1024 * 1024;

async fn read_some(stream: &mut tokio::net::TcpStream, buffer: &mut [u8]) -> usize {
    tokio::io::AsyncReadExt::read(stream, buffer).await.unwrap_or(0)
}

/// Answers after the head alone, then closes with the body unread: the client gets a reset.
async fn hasty(answer: &'static str) -> String {
    serve(move |mut stream, _| async move {
        read_head(&mut stream).await.unwrap();
        say(&mut stream, answer).await;
    })
    .await
}

#[tokio::test]
async fn an_early_refusal_wins_over_the_broken_pipe() {
    // Many times: the answer and the reset race with our writing.
    for _ in 0..20 {
        let kit = Kit::new(&bytes(BIG));
        let url = hasty(
            "HTTP/1.1 413 Payload Too Large\r\nContent-Type: text/plain\r\nContent-Length: 11\r\n\
             \r\nat most 1 M",
        )
        .await;
        let failure = failed(kit.send(kit.raw(&url)).await, ErrorCode::HttpClientError);
        assert_eq!(failure.http_status, Some(413));
        assert_eq!(failure.message, "HTTP 413 Payload Too Large: at most 1 M");
    }
}

#[tokio::test]
async fn an_early_refusal_stops_the_body() {
    let kit = Kit::new(&bytes(BIG));
    let (url, served) = serve_one(|mut stream| async move {
        let seen = read_head(&mut stream).await.unwrap();
        say(&mut stream, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n").await;
        // The rest of the answer comes only when no more of the body does.
        let (mut count, mut buffer) = (seen.body.len(), vec![0; 1024 * 1024]);
        let quiet = std::time::Duration::from_millis(100);
        while let Ok(some @ 1..) =
            tokio::time::timeout(quiet, read_some(&mut stream, &mut buffer)).await
        {
            count += some;
        }
        say(&mut stream, "no").await;
        count
    })
    .await;
    let failure = failed(kit.send(kit.raw(&url)).await, ErrorCode::HttpClientError);
    assert_eq!(failure.http_status, Some(401));
    assert!(served.await.unwrap() < BIG, "the whole body was sent all the same");
}

#[tokio::test]
async fn a_yes_counts_whatever_else_is_wrong_with_its_headers() {
    for line in ["Bad Header: x", "nocolon", "X-A: a\u{1}b", ": empty", "X\u{e4}: y"] {
        let kit = Kit::new(b"hello");
        let url = serve(move |mut stream, _| async move {
            read_request(&mut stream).await.unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\n{line}\r\nContent-Length: 2\r\n\r\nok");
            say(&mut stream, &answer).await;
        })
        .await;
        assert_eq!(succeeded(kit.send(kit.raw(&url)).await).body, b"ok", "{line}");
    }
}

#[tokio::test]
async fn an_early_yes_counts_once_the_server_has_everything() {
    let kit = Kit::new(&bytes(BIG));
    let url = serve(|mut stream, _| async move {
        let seen = read_head(&mut stream).await.unwrap();
        say(&mut stream, OK).await;
        let mut rest = vec![0; seen.content_length() - seen.body.len()];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut rest).await.unwrap();
    })
    .await;
    let success = succeeded(kit.send(kit.raw(&url)).await);
    assert_eq!(success.bytes_sent, u64::try_from(BIG).unwrap());
    let failure = retried(kit.send(kit.raw(&hasty(OK).await)).await, ErrorCode::NetworkError);
    assert!(failure.message.contains("whole body"), "{}", failure.message);
}

#[tokio::test]
async fn a_server_in_trouble_is_tried_again_when_it_says() {
    let kit = Kit::new(b"x");
    let cases = [
        ("HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", Some(7_000)),
        (
            "HTTP/1.1 503 Busy\r\nRetry-After: Sun, 06 Nov 1994 08:49:40 GMT\r\n\
             Content-Length: 0\r\n\r\n",
            Some(3_000),
        ),
        ("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", None),
    ];
    for (answer, wait) in cases {
        let (url, _) = answering(answer).await;
        let failure = retried(kit.send(kit.raw(&url)).await, ErrorCode::HttpServerError);
        assert_eq!((failure.http_status, failure.retry_after_ms), (Some(503), wait));
        assert!(failure.message.starts_with("HTTP 503"));
    }
}

#[tokio::test]
async fn half_an_answer_is_no_success_but_a_refusal_is_one() {
    let kit = Kit::new(b"x");
    let half = "Content-Length: 100\r\n\r\nhalf";
    let cut = |status: &str| -> &'static str {
        Box::leak(format!("HTTP/1.1 {status}\r\nConnection: close\r\n{half}").into_boxed_str())
    };
    let url = hasty(cut("200 OK")).await;
    retried(kit.send(kit.raw(&url)).await, ErrorCode::NetworkError);
    let url = hasty(cut("404 Not Found")).await;
    failed(kit.send(kit.raw(&url)).await, ErrorCode::HttpClientError);
    for broken in ["HTTP/1.1 200 OK\r\nConte", "220 smtp.example ESMTP\r\n", ""] {
        let url = hasty(broken).await;
        retried(kit.send(kit.raw(&url)).await, ErrorCode::NetworkError);
    }
}

#[tokio::test]
async fn a_long_answer_is_cut() {
    let kit = Kit::new(b"x");
    for (len, is_cut) in [(RESPONSE_BYTES_MAX, false), (RESPONSE_BYTES_MAX + 1, true)] {
        let body = "y".repeat(len);
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{body}");
        let (url, _) = answering(Box::leak(text.into_boxed_str())).await;
        let success = succeeded(kit.send(kit.raw(&url)).await);
        assert_eq!((success.body.len(), success.body_truncated), (RESPONSE_BYTES_MAX, is_cut));
    }
}

#[tokio::test]
async fn a_server_that_answers_at_length_before_it_has_everything_gets_everything() {
    let kit = Kit::new(&bytes(BIG));
    let (url, served) = serve_one(|mut stream| async move {
        let seen = read_head(&mut stream).await.unwrap();
        let long = "y".repeat(4 * RESPONSE_BYTES_MAX);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", long.len());
        say(&mut stream, &(head + &long)).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let (mut count, mut buffer) = (seen.body.len(), vec![0; 64 * 1024]);
        while count < BIG
            && let some @ 1.. = read_some(&mut stream, &mut buffer).await
        {
            count += some;
        }
        count
    })
    .await;
    let success = succeeded(kit.send(kit.raw(&url)).await);
    assert_eq!((success.body.len(), success.body_truncated), (RESPONSE_BYTES_MAX, true));
    assert_eq!(served.await.unwrap(), BIG);
}

#[tokio::test]
async fn a_server_that_sends_the_body_back_as_it_comes_is_listened_to() {
    let kit = Kit::new(&bytes(BIG));
    let url = serve(|stream, _| async move {
        let (mut from, mut to) = stream.into_split();
        let seen = read_head(&mut from).await.unwrap();
        let len = seen.content_length();
        say(&mut to, &format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n")).await;
        tokio::io::AsyncWriteExt::write_all(&mut to, &seen.body).await.unwrap();
        let missing = u64::try_from(len - seen.body.len()).unwrap();
        let mut rest = tokio::io::AsyncReadExt::take(from, missing);
        tokio::io::copy(&mut rest, &mut to).await.unwrap();
    })
    .await;
    assert!(succeeded(kit.send(kit.raw(&url)).await).body_truncated);
}

#[tokio::test]
async fn a_conflict_with_what_an_earlier_attempt_may_have_sent_may_pass() {
    let kit = Kit::new(b"x");
    let (url, _) = answering("HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n").await;
    failed(kit.send(kit.raw(&url)).await, ErrorCode::HttpClientError);
    let again = outhaul_core::transfer::Upload { is_repeat: true, ..kit.raw(&url) };
    retried(kit.send(again).await, ErrorCode::HttpClientError);
}

#[tokio::test]
async fn an_excerpt_of_what_is_compressed_is_not_shown() {
    let kit = Kit::new(b"x");
    let (url, _) = answering(
        "HTTP/1.1 422 No\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n\
         Content-Length: 4\r\n\r\n\u{1f}\u{8}zz",
    )
    .await;
    let failure = failed(kit.send(kit.raw(&url)).await, ErrorCode::HttpClientError);
    assert_eq!(failure.message, "HTTP 422 Unprocessable Entity");
}

#[tokio::test]
async fn interim_answers_are_not_the_answer() {
    let kit = Kit::new(b"x");
    let text = format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n{OK}");
    let (url, _) = answering(Box::leak(text.into_boxed_str())).await;
    assert_eq!(succeeded(kit.send(kit.raw(&url)).await).http_status, Some(200));
}

#[tokio::test]
async fn a_redirect_to_the_same_origin_gets_the_body_from_its_start() {
    // Once it comes after the body, once before it.
    for len in [1_000, BIG] {
        let kit = Kit::new(&bytes(len));
        let url = serve(move |mut stream, _| async move {
            loop {
                let Some(seen) = read_head(&mut stream).await else { return };
                if seen.head.starts_with("POST /up ") {
                    let to = "HTTP/1.1 307 There\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n";
                    say(&mut stream, to).await;
                    return;
                }
                let mut body = seen.body;
                let have = body.len();
                body.resize(len, 0);
                tokio::io::AsyncReadExt::read_exact(&mut stream, &mut body[have..]).await.unwrap();
                assert!(seen.head.starts_with("POST /there "));
                say(&mut stream, if body == bytes(len) { OK } else { "HTTP/1.1 400 Bad\r\n\r\n" })
                    .await;
            }
        })
        .await;
        succeeded(kit.send(kit.raw(&url)).await);
    }
}

#[tokio::test]
async fn a_redirect_elsewhere_is_not_followed_and_its_secrets_not_told() {
    let mut kit = Kit::new(b"x");
    kit.headers = vec![ResolvedHeader::secret("Authorization", "Bearer ", "hunter22")];
    let (elsewhere, seen) = answering(OK).await;
    let to = format!("{elsewhere}?token=hunter22");
    let text = format!("HTTP/1.1 307 There\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    let (url, _) = answering(Box::leak(text.into_boxed_str())).await;
    let failure = failed(kit.send(kit.raw(&url)).await, ErrorCode::HttpClientError);
    assert!(failure.message.contains("another origin"), "{}", failure.message);
    assert!(!failure.message.contains("hunter22"), "{}", failure.message);
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    let kit = Kit::new(b"x");
    let (url, seen) =
        answering("HTTP/1.1 308 Here\r\nLocation: /up\r\nContent-Length: 0\r\n\r\n").await;
    let failure = failed(kit.send(kit.raw(&url)).await, ErrorCode::HttpClientError);
    assert!(failure.message.contains("more than 5 redirects"), "{}", failure.message);
    assert_eq!(seen.lock().unwrap().len(), 6);
}
