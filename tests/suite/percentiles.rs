//! Percentiles of readings, of the whole and by buckets, near the exact ones.

use crate::{
    harness::Brooklet,
    retention::{import, today, within},
};

#[tokio::test]
async fn percentiles_are_near_the_exact_ones() {
    let brooklet = Brooklet::start().await;
    let start = today() - 86_400;
    // An hour and a half: 90 values, of which the first hour has the odd ones first.
    let value = |n: i64| n * 37 % 90 + 10;
    let rows: Vec<_> = (0..90).map(|n| ("s", start + n * 60, value(n))).collect();
    import(&brooklet, &rows).await;
    let range = within((start, start + 7_200));
    let path = format!("/api/data/statistics?sensor=s&{range}&bucket=1h&percentiles=0,50,95.5,100");
    let item = brooklet.get(&path).await["items"][0].clone();
    let near = |found: &serde_json::Value, values: &mut Vec<i64>| {
        values.sort_unstable();
        let found = found["percentiles"].as_array().unwrap();
        assert_eq!(found.len(), 4);
        for (percent, one) in [0.0, 50.0, 95.5, 100.0].into_iter().zip(found) {
            assert_eq!(one["percent"].as_f64(), Some(percent));
            let exact =
                values[(percent / 100.0 * (values.len() - 1) as f64).round() as usize] as f64;
            let value = one["value"].as_f64().unwrap();
            assert!((value - exact).abs() <= exact * 0.0101, "{percent}: {value} {exact}");
        }
    };
    near(&item, &mut (0..90).map(value).collect());
    near(&item["series"][0], &mut (0..60).map(value).collect());
    near(&item["series"][1], &mut (60..90).map(value).collect());
    let without = brooklet.get(&path.replace("&percentiles=0,50,95.5,100", "")).await;
    assert!(without["items"][0].get("percentiles").is_none());
    for wrong in ["", "50,", "101", "-1", "p50", "NaN", "1,2,3,4,5,6,7,8,9,10,11"] {
        let path = format!("/api/data/statistics?sensor=s&{range}&percentiles={wrong}");
        let answer = brooklet.request(reqwest::Method::GET, &path, None).await;
        assert_eq!(answer.status, 422, "{wrong}: {}", answer.text);
        assert!(answer.text.contains("percentiles"), "{wrong}: {}", answer.text);
    }
}
