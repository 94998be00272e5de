//! Each channel by itself: redirects, signatures, TLS, mail, topics, the test button.

use std::fs;

use brooklet::{
    alarm::{
        notify::{Failure, Notice, NoticeKind},
        rule::Severity,
    },
    store::NotificationState::{Dead, Sent},
    tls::{ClientCertificates, TlsFiles, TlsServer},
};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use super::{
    mail::MailServer,
    outbox::{Post, notice, target},
    receiver::{Answer, Receiver},
    webhook,
};
use crate::certificates::Authority;

fn acceptor(authority: &Authority) -> TlsAcceptor {
    let files = TlsFiles {
        certificate: authority.path("server.pem"),
        key: authority.path("server.key"),
        clients: ClientCertificates::None,
    };
    TlsServer::load(files).unwrap().acceptor()
}

/// What the test button says.
async fn tried(json: Value) -> Result<(), String> {
    let post = Post::new(&[]).await;
    let sent = post.channels.send_test(&target(&json)).await;
    sent.map_err(|failure: Failure| failure.to_string())
}

#[tokio::test]
async fn a_redirect_leads_to_no_private_address_unless_allowed() {
    let hidden = Receiver::start(&[]).await;
    let answers = [
        Answer::redirect("307 Temporary Redirect", &hidden.url("/secret")),
        Answer::redirect(
            "308 Permanent Redirect",
            &format!("http://localhost:{}/", hidden.address.port()),
        ),
        Answer::redirect("308 Permanent Redirect", "http://[::ffff:169.254.169.254]/"),
        Answer::redirect("302 Found", "/elsewhere"),
        Answer::redirect("307 Temporary Redirect", "/own"),
    ];
    let receiver = Receiver::start(&answers).await;
    let mut wanted = webhook("ops", &receiver.url("/"));
    for word in ["127.0.0.1", "localhost", "169.254.169.254"] {
        let error = tried(wanted.clone()).await.unwrap_err();
        assert!(error.contains(word) || error.contains("private address"), "{error}");
    }
    assert!(tried(wanted.clone()).await.unwrap_err().contains("302"));
    assert_eq!(tried(wanted.clone()).await, Ok(()), "its own origin may be private");
    assert_eq!(receiver.requests()[5].path, "/own");
    assert!(hidden.requests().is_empty());

    let receiver = Receiver::start(&answers[..1]).await;
    wanted["channel"]["url"] = json!(receiver.url("/"));
    wanted["channel"]["allow_private"] = json!(true);
    wanted["channel"]["secret"] = json!("key");
    wanted["channel"]["bearer"] = json!("t0ken");
    wanted["channel"]["headers"] = json!({"X-Key": "k3y"});
    assert_eq!(tried(wanted).await, Ok(()));
    let (first, last) = (&receiver.requests()[0], &hidden.requests()[0]);
    assert_eq!(
        (&first.headers["authorization"], &first.headers["x-key"]),
        (&"Bearer t0ken".to_owned(), &"k3y".to_owned())
    );
    assert_eq!((last.path.as_str(), &last.text), ("/secret", &first.text));
    assert_eq!(last.headers["host"], hidden.address.to_string());
    assert!(!last.headers.contains_key("authorization") && !last.headers.contains_key("x-key"));
    assert_eq!(last.headers["x-brooklet-signature"], first.headers["x-brooklet-signature"]);
}

#[tokio::test]
async fn redirects_have_an_end() {
    let receiver =
        Receiver::start(&vec![Answer::redirect("307 Temporary Redirect", "/"); 10]).await;
    let error = tried(webhook("ops", &receiver.url("/"))).await.unwrap_err();
    assert!(error.contains("more than 3 redirects"), "{error}");
    assert_eq!(receiver.requests().len(), 4);
}

#[tokio::test]
async fn a_signature_proves_time_and_body() {
    let receiver = Receiver::start(&[]).await;
    let mut wanted = webhook("ops", &receiver.url("/"));
    wanted["channel"]["secret"] = json!("key");
    assert_eq!(tried(wanted).await, Ok(()));
    let request = &receiver.requests()[0];
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"key").unwrap();
    mac.update(format!("{}.{}", request.headers["x-brooklet-timestamp"], request.text).as_bytes());
    let expected: String =
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(request.headers["x-brooklet-signature"], format!("sha256={expected}"));
    assert_eq!(request.headers["content-type"], "application/json");
    assert_eq!(request.body["alerts"][0]["brooklet"]["kind"], "test");
}

#[tokio::test]
async fn https_trusts_only_whom_it_is_told_to() {
    let authority = Authority::new();
    let receiver = Receiver::with(&[], Some(acceptor(&authority))).await;
    let mut wanted = webhook("ops", &format!("https://{}/", receiver.address));
    let error = tried(wanted.clone()).await.unwrap_err();
    assert!(error.contains("UnknownIssuer"), "{error}");
    wanted["channel"]["ca"] = json!(fs::read_to_string(authority.path("ca.pem")).unwrap());
    assert_eq!(tried(wanted).await, Ok(()));
    assert_eq!(receiver.requests().len(), 1);
}

fn email(server: &MailServer, security: &str) -> Value {
    let channel = json!({"type": "email", "host": "127.0.0.1", "port": server.address.port(),
        "security": security, "from": "Brooklet <alarms@example.org>", "timeout": "5s",
        "to": ["Ann <ann@example.org>", "bob@example.org", "eve@example.org"]});
    json!({"name": "mail", "group_wait": "0s", "channel": channel})
}

#[tokio::test]
async fn a_mail_goes_to_who_can_get_it_and_later_to_who_was_deferred() {
    let replies = [("bob", "550 no such user"), ("eve", "451 try again later"), ("bob", "550 no")];
    let server = MailServer::start(&replies).await;
    let mut post = Post::started(&[email(&server, "none")]).await;
    let mut notice = notice(7, NoticeKind::Raised);
    notice.message = "A line\n.\nand <b>\"another\"</b>".to_owned();
    let ids = post.tell(&notice).await;
    post.until_state(&ids, Sent).await;
    post.stop().await;
    let mails = server.mails();
    let to: Vec<_> = mails.iter().map(|mail| mail.to.clone()).collect();
    // Bob is asked for again, and refused as long as the server says so; Ann has it already.
    assert_eq!(to, [vec!["ann@example.org"], vec!["eve@example.org"]]);
    let header = |mail: &str, name: &str| {
        mail.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned()
    };
    for name in [
        "Message-ID: <",
        "From: Brooklet <alarms@example.org>",
        "Auto-Submitted: auto-generated",
        "References: <alarm-7@example.org>",
    ] {
        let lines: Vec<_> = mails.iter().map(|mail| header(&mail.data, name)).collect();
        assert!(!lines[0].is_empty() && lines[0] == lines[1], "{name} {}", mails[0].data);
    }
    assert!(mails[0].data.contains("text/plain") && mails[0].data.contains("text/html"));
    assert!(mails[0].data.contains("\r\n..\r\n"), "a lone dot is doubled: {}", mails[0].data);
}

#[tokio::test]
async fn a_mail_that_nobody_may_get_is_refused() {
    let refused = [("ann", "550 no"), ("bob", "550 no"), ("eve", "553 no")];
    let server = MailServer::start(&refused).await;
    let mut post = Post::started(&[email(&server, "none")]).await;
    let ids = post.tell(&notice(7, NoticeKind::Raised)).await;
    post.until_state(&ids, Dead).await;
    let error = post.row(ids[0]).await.error.unwrap();
    assert!(error.contains("550"), "{error}");
    post.stop().await;
    assert!(server.mails().is_empty());
}

#[tokio::test]
async fn mail_over_starttls_and_tls_with_a_login() {
    let authority = Authority::new();
    for (security, is_implicit) in [("starttls", false), ("tls", true)] {
        let server = MailServer::with(&[], Some(acceptor(&authority)), is_implicit).await;
        let mut wanted = email(&server, security);
        wanted["channel"]["user"] = json!("ann");
        wanted["channel"]["password"] = json!("wrong");
        let error = tried(wanted.clone()).await.unwrap_err();
        assert!(error.contains("UnknownIssuer"), "{security} {error}");
        wanted["channel"]["ca"] = json!(fs::read_to_string(authority.path("ca.pem")).unwrap());
        let error = tried(wanted.clone()).await.unwrap_err();
        assert!(error.contains("535") || error.contains("who are you"), "{security} {error}");
        wanted["channel"]["password"] = json!("secret");
        assert_eq!(tried(wanted).await, Ok(()), "{security}");
        let mail = &server.mails()[0];
        assert!(mail.is_encrypted && mail.login.is_some(), "{mail:?}");
        assert_eq!(mail.to.len(), 3);
    }
    // A server that offers no STARTTLS gets neither password nor mail.
    let server = MailServer::start(&[]).await;
    let error = tried(email(&server, "starttls")).await.unwrap_err();
    assert!(error.contains("STARTTLS"), "{error}");
    assert!(server.mails().is_empty());
}

async fn told(post: &mut Post, notice: &Notice) {
    let ids = post.tell(notice).await;
    post.until_state(&ids, Sent).await;
}

#[tokio::test]
async fn topics_hold_what_is_active() {
    let mut post = Post::started(&[json!({"name": "topics", "channel": {"type": "mqtt"}})]).await;
    let retained = |post: &Post, severity: &str| {
        let payload = post.publisher.retained(&format!("alarms/test/{severity}/Boiler too hot"));
        payload.filter(|payload| !payload.is_empty()).map(|payload| {
            let notice: Value = serde_json::from_slice(&payload).unwrap();
            (notice["alarm_id"].as_i64().unwrap(), notice["kind"].as_str().unwrap().to_owned())
        })
    };
    let mut tell = notice(1, NoticeKind::Raised);
    tell.severity = Severity::Warning;
    told(&mut post, &tell).await;
    assert_eq!(retained(&post, "warning"), Some((1, "raised".to_owned())));
    told(&mut post, &notice(1, NoticeKind::Escalated)).await;
    assert_eq!(retained(&post, "warning"), None);
    assert_eq!(retained(&post, "critical"), Some((1, "escalated".to_owned())));
    told(&mut post, &notice(2, NoticeKind::Raised)).await;
    told(&mut post, &notice(2, NoticeKind::Cleared)).await;
    assert_eq!(retained(&post, "critical"), Some((1, "escalated".to_owned())));
    told(&mut post, &notice(1, NoticeKind::Cleared)).await;
    assert_eq!(retained(&post, "critical"), None);
    post.stop().await;
}

#[tokio::test]
async fn the_test_button_says_what_is_wrong() {
    assert_eq!(tried(json!({"name": "l", "channel": {"type": "log"}})).await, Ok(()));
    assert_eq!(tried(json!({"name": "m", "channel": {"type": "mqtt"}})).await, Ok(()));
    let hangs = Receiver::start(&[Answer::Hang]).await;
    let error = tried(webhook("ops", &hangs.url("/"))).await.unwrap_err();
    assert_eq!(error, "no answer within 1s");
    let error = tried(webhook("ops", "http://nowhere.invalid/")).await.unwrap_err();
    assert!(error.contains("nowhere.invalid"), "{error}");
}
