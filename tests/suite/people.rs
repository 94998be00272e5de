//! Users, sessions, keys and the audit log over HTTP; every operation without rights.

use reqwest::{
    Method,
    header::{ETAG, WWW_AUTHENTICATE},
};
use serde_json::{Value, json};

use crate::harness::{Brooklet, Response, command};

const PASSWORD: &str = "a fine long password";

/// A server that lets in nobody without credentials, and the key of its first start.
pub(crate) async fn closed(more: &[(&str, &str)]) -> (Brooklet, String) {
    let mut variables = vec![("HTTP__ALLOW_ANONYMOUS", "false")];
    variables.extend(more);
    let brooklet = Brooklet::with(&variables).await;
    let key = std::fs::read_to_string(brooklet.folder().join("data/initial-api-key")).unwrap();
    (brooklet, key.trim().to_owned())
}

/// A request with a key or an access token.
pub(crate) async fn ask(
    brooklet: &Brooklet,
    token: &str,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Response {
    let bearer = format!("Bearer {token}");
    brooklet.request_with(method, path, body, &[("Authorization", &bearer)]).await
}

async fn sign_in(brooklet: &Brooklet, name: &str, password: &str) -> Response {
    let body = json!({"username": name, "password": password});
    brooklet.request(Method::POST, "/api/auth/login", Some(body)).await
}

async fn refresh(brooklet: &Brooklet, token: &Value) -> Response {
    let body = json!({"refresh_token": token});
    brooklet.request(Method::POST, "/api/auth/refresh", Some(body)).await
}

async fn add_user(brooklet: &Brooklet, admin: &str, name: &str, role: &str) {
    let body = json!({"name": name, "role": role, "password": PASSWORD});
    let made = ask(brooklet, admin, Method::POST, "/api/users", Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.text);
}

pub(crate) async fn make_key(brooklet: &Brooklet, admin: &str, body: Value) -> (i64, String) {
    let made = ask(brooklet, admin, Method::POST, "/api/keys", Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    (made.body["id"].as_i64().unwrap(), made.body["key"].as_str().unwrap().to_owned())
}

fn token(response: &Response) -> String {
    assert_eq!(response.status, 200, "{}", response.text);
    response.body["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_first_start_makes_an_admin_and_a_key_once() {
    let (brooklet, key) = closed(&[]).await;
    let file = brooklet.folder().join("data/initial-admin-password");
    let password = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    let refused = brooklet.request(Method::GET, "/api/devices", None).await;
    assert_eq!(refused.status, 401);
    assert!(refused.headers.contains_key(WWW_AUTHENTICATE));
    assert_eq!(refused.headers["content-type"], "application/problem+json");
    assert_eq!(ask(&brooklet, &key, Method::GET, "/api/devices", None).await.status, 200);
    let admin = token(&sign_in(&brooklet, "admin", &password).await);
    let me = ask(&brooklet, &admin, Method::GET, "/api/auth/me", None).await.body;
    assert_eq!(
        (&me["kind"], &me["name"], &me["scopes"]),
        (&json!("user"), &json!("admin"), &json!(["admin"]))
    );
    let body = json!({"current_password": password, "new_password": PASSWORD});
    let changed = ask(&brooklet, &admin, Method::POST, "/api/auth/password", Some(body)).await;
    assert_eq!(changed.status, 204, "{}", changed.text);
    assert!(!file.exists(), "it goes with the password");
    let brooklet = brooklet.restart().await;
    assert!(!file.exists(), "it is made once");
    assert_eq!(sign_in(&brooklet, "admin", &password).await.status, 401);
    assert_eq!(sign_in(&brooklet, "admin", PASSWORD).await.status, 200);
    assert_eq!(ask(&brooklet, &admin, Method::GET, "/api/devices", None).await.status, 200);
}

#[tokio::test]
async fn on_loopback_it_is_open_until_somebody_is_known() {
    let brooklet = Brooklet::start().await;
    assert!(!brooklet.folder().join("data/initial-admin-password").exists());
    let me = brooklet.get("/api/auth/me").await;
    assert_eq!(me["kind"], "nobody");
    let body = json!({"name": "ann", "role": "admin", "password": PASSWORD});
    let made = brooklet.request(Method::POST, "/api/users", Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(brooklet.request(Method::GET, "/api/devices", None).await.status, 401);
    let ann = token(&sign_in(&brooklet, "ann", PASSWORD).await);
    let audit = ask(&brooklet, &ann, Method::GET, "/api/audit", None).await.body;
    let seen: Vec<_> = audit["items"].as_array().unwrap().iter().collect();
    assert_eq!((&seen[0]["action"], &seen[0]["actor"]), (&json!("login"), &json!("ann")));
    assert_eq!(
        (&seen[1]["action"], &seen[1]["actor_kind"]),
        (&json!("create_user"), &json!("nobody"))
    );
    assert_eq!(seen[1]["address"], "127.0.0.1");
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_its_reuse_ends_the_family() {
    let (brooklet, key) = closed(&[]).await;
    add_user(&brooklet, &key, "ann", "viewer").await;
    let first = sign_in(&brooklet, "ann", PASSWORD).await;
    let elsewhere = token(&sign_in(&brooklet, "ann", PASSWORD).await);
    let second = refresh(&brooklet, &first.body["refresh_token"]).await;
    let access = token(&second);
    let brooklet = brooklet.restart().await;
    let devices =
        async |token: &str| ask(&brooklet, token, Method::GET, "/api/devices", None).await;
    assert_eq!(devices(&access).await.status, 200);
    let reused = refresh(&brooklet, &first.body["refresh_token"]).await;
    assert_eq!(reused.status, 401, "{}", reused.text);
    assert_eq!(refresh(&brooklet, &second.body["refresh_token"]).await.status, 401);
    assert_eq!(devices(&access).await.status, 401);
    assert_eq!(devices(&elsewhere).await.status, 200, "another session is not concerned");
    let path = "/api/audit?action=refresh_token_reused";
    let audit = ask(&brooklet, &key, Method::GET, path, None).await.body;
    assert_eq!(audit["items"][0]["detail"]["user"], "ann");
    let out = ask(&brooklet, &elsewhere, Method::POST, "/api/auth/logout", None).await;
    assert_eq!(out.status, 204);
    assert_eq!(devices(&elsewhere).await.status, 401);
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let (brooklet, key) = closed(&[]).await;
    add_user(&brooklet, &key, "ann", "viewer").await;
    let one = token(&sign_in(&brooklet, "ann", PASSWORD).await);
    let two = token(&sign_in(&brooklet, "ann", PASSWORD).await);
    let list = ask(&brooklet, &one, Method::GET, "/api/auth/sessions", None).await.body;
    let sessions = list["items"].as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    let other = sessions.iter().find(|session| session["current"] == false).unwrap();
    let path = format!("/api/auth/sessions/{}", other["id"]);
    assert_eq!(ask(&brooklet, &one, Method::DELETE, &path, None).await.status, 204);
    assert_eq!(ask(&brooklet, &one, Method::DELETE, &path, None).await.status, 404);
    assert_eq!(ask(&brooklet, &two, Method::GET, "/api/auth/me", None).await.status, 401);
    let path = "/api/users/ann/sessions";
    let all = ask(&brooklet, &key, Method::GET, path, None).await.body;
    assert_eq!(all["items"].as_array().unwrap().len(), 1);
    assert_eq!(ask(&brooklet, &key, Method::DELETE, path, None).await.status, 204);
    assert_eq!(ask(&brooklet, &one, Method::GET, "/api/auth/me", None).await.status, 401);
    assert_eq!(ask(&brooklet, &key, Method::GET, "/api/auth/sessions", None).await.status, 403);
}

#[tokio::test]
async fn users_are_looked_after() {
    let (brooklet, key) = closed(&[]).await;
    add_user(&brooklet, &key, "ann", "operator").await;
    let again = json!({"name": "ann", "role": "viewer", "password": PASSWORD});
    let admin = async |method, path: &str, body| ask(&brooklet, &key, method, path, body).await;
    assert_eq!(admin(Method::POST, "/api/users", Some(again)).await.status, 409);
    for (wrong, pointer) in [
        (json!({"name": "a/b", "role": "viewer", "password": PASSWORD}), "/name"),
        (json!({"name": "bob", "role": "king", "password": PASSWORD}), "/role"),
        (json!({"name": "bob", "role": "viewer", "password": "short"}), "/password"),
        (json!({"name": "bob", "role": "viewer", "password": "password123"}), "/password"),
        (json!({"name": "bob", "role": "viewer"}), "/password"),
        (json!({"name": "bob", "role": "viewer", "password_hash": "x"}), "/password_hash"),
        (json!({"name": "bob", "role": "viewer", "password": PASSWORD, "email": "x"}), "/email"),
        (
            json!({"name": "bob", "role": "viewer", "password": PASSWORD, "mqtt_allow": ["x"]}),
            "/mqtt_allow/0",
        ),
    ] {
        let refused = admin(Method::POST, "/api/users", Some(wrong.clone())).await;
        assert_eq!(refused.status, 422, "{wrong}: {}", refused.text);
        assert_eq!(refused.body["errors"][0]["pointer"], pointer, "{}", refused.text);
    }
    let shown = admin(Method::GET, "/api/users/ann", None).await;
    assert_eq!(shown.headers[ETAG], "\"1\"");
    assert!(!shown.text.contains("argon2"));
    let ann = token(&sign_in(&brooklet, "ann", PASSWORD).await);
    // An operator looks after nobody.
    assert_eq!(ask(&brooklet, &ann, Method::GET, "/api/users", None).await.status, 403);
    let change = async |tag: &str, body| {
        let bearer = format!("Bearer {key}");
        let headers = [("Authorization", bearer.as_str()), ("If-Match", tag)];
        brooklet.request_with(Method::PATCH, "/api/users/ann", Some(body), &headers).await
    };
    let changed = change("\"1\"", json!({"role": "viewer", "email": "ann@example.org"})).await;
    assert_eq!((changed.status.as_u16(), &changed.body["role"]), (200, &json!("viewer")));
    for stale in ["\"1\"", "odd"] {
        assert_eq!(change(stale, json!({"role": "admin"})).await.status, 412, "{stale}");
    }
    let write = Some(json!({"device": "d"}));
    assert_eq!(ask(&brooklet, &ann, Method::POST, "/api/devices", write).await.status, 403);
    assert_eq!(change("*", json!({"active": false})).await.status, 200);
    assert_eq!(ask(&brooklet, &ann, Method::GET, "/api/devices", None).await.status, 401);
    assert_eq!(sign_in(&brooklet, "ann", PASSWORD).await.status, 401);
    assert_eq!(admin(Method::DELETE, "/api/users/admin", None).await.status, 409, "the last one");
    assert_eq!(admin(Method::DELETE, "/api/users/ann", None).await.status, 204);
    assert_eq!(admin(Method::GET, "/api/users/ann", None).await.status, 404);
    for name in ["bob", "cid"] {
        add_user(&brooklet, &key, name, "viewer").await;
    }
    let page = admin(Method::GET, "/api/users?limit=2", None).await.body;
    assert_eq!(page["next_cursor"], "bob");
    let page = admin(Method::GET, "/api/users?limit=2&cursor=bob", None).await.body;
    assert_eq!((&page["items"][0]["name"], &page["next_cursor"]), (&json!("cid"), &Value::Null));
}

#[tokio::test]
async fn who_may_look_after_users_makes_nobody_greater() {
    let (brooklet, admin) = closed(&[]).await;
    let scopes = json!({"name": "hr", "scopes": ["users:write", "keys:write", "data:read"]});
    let (_, key) = make_key(&brooklet, &admin, scopes).await;
    let ask = async |method, path: &str, body| ask(&brooklet, &key, method, path, Some(body)).await;
    let user = json!({"name": "eve", "role": "admin", "password": PASSWORD});
    assert_eq!(ask(Method::POST, "/api/users", user).await.status, 403);
    let password = json!({"password": PASSWORD});
    assert_eq!(ask(Method::PUT, "/api/users/admin/password", password).await.status, 403);
    let off = json!({"active": false});
    assert_eq!(ask(Method::PATCH, "/api/users/admin", off).await.status, 403);
    let greater = json!({"name": "mine", "scopes": ["admin"]});
    assert_eq!(ask(Method::POST, "/api/keys", greater).await.status, 403);
    assert_eq!(ask(Method::DELETE, "/api/keys/1", json!({})).await.status, 403);
    let equal = json!({"name": "mine", "scopes": ["data:read"]});
    assert_eq!(ask(Method::POST, "/api/keys", equal).await.status, 201);
}

#[tokio::test]
async fn who_guesses_passwords_is_refused_for_a_while() {
    let (brooklet, key) = closed(&[("ACCESS__MAX_FAILURES", "3")]).await;
    add_user(&brooklet, &key, "ann", "viewer").await;
    for _ in 0..3 {
        assert_eq!(sign_in(&brooklet, "ann", "wrong").await.status, 401);
    }
    let throttled = sign_in(&brooklet, "ann", PASSWORD).await;
    assert_eq!(throttled.status, 429);
    assert!(throttled.headers.contains_key("retry-after"));
    let unknown = sign_in(&brooklet, "nobody", PASSWORD).await;
    assert_eq!(
        (unknown.status.as_u16(), &unknown.body["detail"]),
        (401, &json!("user name or password is wrong"))
    );
}

#[tokio::test]
async fn keys_do_what_they_may_and_end() {
    let (brooklet, admin) = closed(&[]).await;
    let body = json!({"name": "panel", "scopes": ["data:read"]});
    let (id, key) = make_key(&brooklet, &admin, body).await;
    let get = async |path: &str| ask(&brooklet, &key, Method::GET, path, None).await.status;
    assert_eq!(get("/api/data/latest").await, 200);
    assert_eq!(get("/api/devices").await, 403);
    let header = [("X-API-Key", key.as_str())];
    let by_header = brooklet.request_with(Method::GET, "/api/data/latest", None, &header).await;
    assert_eq!(by_header.status, 200);
    let path = format!("/api/keys/{id}");
    let shown = ask(&brooklet, &admin, Method::GET, &path, None).await;
    assert!(!shown.text.contains(&key) && key.starts_with(shown.body["prefix"].as_str().unwrap()));
    assert!(shown.body["used_at"].is_string());
    let more = json!({"scopes": ["data:read", "devices:read"], "name": "board"});
    let changed = ask(&brooklet, &admin, Method::PATCH, &path, Some(more)).await;
    assert_eq!((changed.status.as_u16(), &changed.body["name"]), (200, &json!("board")));
    assert_eq!(get("/api/devices").await, 200);
    let past = json!({"expires_at": "2020-01-01T00:00:00Z"});
    assert_eq!(ask(&brooklet, &admin, Method::PATCH, &path, Some(past)).await.status, 200);
    assert_eq!(get("/api/devices").await, 401);
    let never = json!({"expires_at": ""});
    let changed = ask(&brooklet, &admin, Method::PATCH, &path, Some(never)).await;
    assert!(changed.body["expires_at"].is_null());
    assert_eq!(get("/api/devices").await, 200);
    assert_eq!(ask(&brooklet, &admin, Method::DELETE, &path, None).await.status, 204);
    assert_eq!(get("/api/devices").await, 401);
    for (wrong, pointer) in [
        (json!({"name": "x", "scopes": []}), "/scopes"),
        (json!({"name": "x", "scopes": ["fly"]}), "/scopes"),
        (json!({"name": "", "scopes": ["data:read"]}), "/name"),
        (json!({"name": "x", "scopes": ["data:read"], "device": "d"}), "/scopes"),
        (json!({"name": "x", "scopes": ["data:read"], "expires_at": "soon"}), "/expires_at"),
    ] {
        let refused = ask(&brooklet, &admin, Method::POST, "/api/keys", Some(wrong)).await;
        assert_eq!(refused.status, 422, "{}", refused.text);
        assert_eq!(refused.body["errors"][0]["pointer"], pointer);
    }
    let bound = json!({"name": "bound", "scopes": ["telemetry:write"], "device": "esp"});
    let (_, bound) = make_key(&brooklet, &admin, bound).await;
    let upload = Some(json!({"t": 1}));
    let stored = ask(&brooklet, &bound, Method::POST, "/api/devices/data/upload", upload).await;
    assert_eq!(stored.status, 200, "{}", stored.text);
    assert_eq!(ask(&brooklet, &bound, Method::GET, "/api/devices", None).await.status, 403);
}

#[tokio::test]
async fn what_is_done_is_noted_with_who_did_it() {
    let (brooklet, key) = closed(&[]).await;
    add_user(&brooklet, &key, "ann", "operator").await;
    let ann = token(&sign_in(&brooklet, "ann", PASSWORD).await);
    let body = Some(json!({"device": "esp", "name": "One"}));
    assert_eq!(ask(&brooklet, &ann, Method::POST, "/api/devices", body.clone()).await.status, 201);
    // What failed has not been done.
    assert_eq!(ask(&brooklet, &ann, Method::POST, "/api/devices", body).await.status, 409);
    let bearer = format!("Bearer {ann}");
    let headers = [("Authorization", bearer.as_str()), ("X-Request-ID", "request-7")];
    let body = Some(json!({"name": "Two"}));
    let path = "/api/devices/esp";
    assert_eq!(brooklet.request_with(Method::PATCH, path, body, &headers).await.status, 200);
    let audit = async |query: &str| {
        let path = format!("/api/audit?{query}");
        let page = ask(&brooklet, &key, Method::GET, &path, None).await;
        assert_eq!(page.status, 200, "{}", page.text);
        page.body
    };
    let page = audit("actor=ann&resource=/api/devices").await;
    let actions: Vec<_> = page["items"].as_array().unwrap().iter().map(|e| &e["action"]).collect();
    assert_eq!(actions, ["update_device", "create_device"]);
    let entry = &page["items"][0];
    assert_eq!((&entry["resource"], &entry["request_id"]), (&json!(path), &json!("request-7")));
    let detail = &entry["detail"];
    assert_eq!(
        (&detail["before"]["name"], &detail["after"]["name"]),
        (&json!("One"), &json!("Two"))
    );
    let first = audit("limit=1").await;
    let next = first["next_cursor"].as_str().unwrap();
    let second = audit(&format!("limit=1&cursor={next}")).await;
    assert!(second["items"][0]["id"].as_i64() < first["items"][0]["id"].as_i64());
    assert_eq!(audit("from=2100-01-01T00:00:00Z").await["items"], json!([]));
    let all = audit("limit=1000").await.to_string();
    assert!(!all.contains(PASSWORD) && !all.contains(&key) && !all.contains("argon2"), "{all}");
    assert_eq!(ask(&brooklet, &ann, Method::GET, "/api/audit", None).await.status, 403);
}

#[tokio::test]
async fn docs_and_metrics_are_closed_where_that_is_asked_for() {
    let more = [("HTTP__OPEN_DOCS", "false"), ("HTTP__OPEN_METRICS", "false")];
    let (brooklet, admin) = closed(&more).await;
    let body = json!({"name": "panel", "scopes": ["data:read"]});
    let (_, key) = make_key(&brooklet, &admin, body).await;
    for (path, with_key) in [("/docs", 200), ("/openapi.json", 200), ("/metrics", 403)] {
        assert_eq!(brooklet.request(Method::GET, path, None).await.status, 401, "{path}");
        assert_eq!(ask(&brooklet, &key, Method::GET, path, None).await.status, with_key, "{path}");
        assert_eq!(ask(&brooklet, &admin, Method::GET, path, None).await.status, 200, "{path}");
    }
    assert_eq!(brooklet.request(Method::GET, "/health", None).await.status, 200);
}

/// What needs no credentials; the list may only shrink.
const OPEN: [&str; 7] =
    ["login", "refresh_tokens", "version", "health", "api_health", "health_live", "health_ready"];

#[tokio::test]
async fn every_operation_is_closed_to_those_without_rights() {
    let (brooklet, admin) = closed(&[]).await;
    let output = command(brooklet.folder()).arg("openapi").output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let key = async |name: &str, scope: &str| {
        make_key(&brooklet, &admin, json!({"name": name, "scopes": [scope]})).await.1
    };
    let (reader, auditor) = (key("r", "alarms:read").await, key("a", "alarms:write").await);
    let mut walked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            if OPEN.contains(&id) {
                assert!(operation["security"].is_null(), "{id}");
                continue;
            }
            let schemes = json!([{"api_key": []}, {"bearer": []}]);
            assert_eq!(operation["security"], schemes, "{id} says nothing of credentials");
            for status in ["401", "403"] {
                assert!(!operation["responses"][status].is_null(), "{id} does not tell {status}");
            }
            // No such thing anywhere, so that nothing is changed.
            let path = path.replace("{id}", "0").replace('{', "no-").replace('}', "");
            let method: Method = method.to_uppercase().parse().unwrap();
            let plain = brooklet.request(method.clone(), &path, None).await;
            assert_eq!(plain.status, 401, "{id} without credentials");
            let wrong = ask(&brooklet, "brk_wrong", method.clone(), &path, None).await;
            assert_eq!(wrong.status, 401, "{id} with a wrong key");
            walked += 1;
            let Some(scope) = operation["x-scopes"][0].as_str() else { continue };
            let other = if scope == "alarms:read" { &auditor } else { &reader };
            let refused = ask(&brooklet, other, method.clone(), &path, None).await;
            assert_eq!(refused.status, 403, "{id} without {scope}: {}", refused.text);
            assert_eq!(refused.headers["content-type"], "application/problem+json");
            let enough = key(id, scope).await;
            let answer = ask(&brooklet, &enough, method, &path, None).await;
            assert!(!matches!(answer.status.as_u16(), 401 | 403), "{id} with {scope}");
        }
    }
    assert!(walked > 40, "{walked}");
    for odd in ["/api/no-such-thing", "/api", "/api/", "/api//devices", "/api/devices/%2e%2e/x"] {
        assert_eq!(brooklet.request(Method::GET, odd, None).await.status, 401, "{odd}");
    }
    for odd in ["//api/devices", "/API/devices", "/./api/devices"] {
        let refused = brooklet.request(Method::GET, odd, None).await.status;
        assert!(matches!(refused.as_u16(), 401 | 404), "{odd}: {refused}");
    }
}
