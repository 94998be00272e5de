//! Bounds of the answers that are kept for repetitions.

use super::*;

fn answer(caller: u8, at: i64, bytes: usize) -> HttpAnswer {
    let mut key = [caller; 32];
    for (byte, digit) in key.iter_mut().skip(CALLER_BYTES).zip(at.to_be_bytes()) {
        *byte = digit;
    }
    HttpAnswer {
        key,
        request: [0; 32],
        status: 200,
        headers: "{}".to_owned(),
        body: vec![0; bytes],
        created_at: Timestamp::from_micros(at),
    }
}

async fn has(store: &Store, caller: u8, at: i64) -> bool {
    let key = answer(caller, at, 0).key;
    store.http_answer(&key, Timestamp::UNIX_EPOCH).await.unwrap().is_some()
}

#[tokio::test]
async fn a_caller_pushes_out_answers_of_its_own_only() {
    let folder = TempDir::new().unwrap();
    let (store, _writer, _) = store(&folder, 0).await;
    let keep = async |answer| store.keep_http_answer(answer, Timestamp::UNIX_EPOCH).await.unwrap();
    keep(answer(1, 1, 10)).await;
    for at in 2..1_102 {
        keep(answer(2, at, 10)).await;
    }
    for at in 2_001..=2_009 {
        keep(answer(3, at, 1 << 20)).await;
    }
    store.trim_http_answers().await.unwrap();
    assert!(has(&store, 1, 1).await);
    let mut left = Vec::new();
    for at in [101, 102, 1_101] {
        left.push(has(&store, 2, at).await);
    }
    assert_eq!(left, [false, true, true], "the newest 1,000");
    assert_eq!((has(&store, 3, 2_001).await, has(&store, 3, 2_002).await), (false, true), "8 MiB");
}

#[tokio::test]
async fn all_answers_have_a_bound_in_bytes() {
    let folder = TempDir::new().unwrap();
    let (store, _writer, _) = store(&folder, 0).await;
    for at in 0..66_u8 {
        let answer = answer(at, i64::from(at), 1 << 20);
        store.keep_http_answer(answer, Timestamp::UNIX_EPOCH).await.unwrap();
    }
    store.trim_http_answers().await.unwrap();
    assert_eq!((has(&store, 1, 1).await, has(&store, 2, 2).await), (false, true), "64 MiB");
}
