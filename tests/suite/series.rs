//! A sensor's readings as so many points as fit.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    harness::Brooklet,
    retention::{import, today, within},
};

const DAY: i64 = 86_400;

/// How many points, and what they stand for.
fn told(series: &Value) -> (usize, &str) {
    (series["points"].as_array().unwrap().len(), series["resolution"].as_str().unwrap())
}

fn sum(series: &Value) -> i64 {
    let points = series["points"].as_array().unwrap().iter();
    points.map(|point| point["count"].as_i64().unwrap()).sum()
}

#[tokio::test]
async fn as_many_points_as_fit_and_the_answer_says_of_what() {
    let brooklet = Brooklet::start().await;
    let start = today() - 3 * DAY;
    let rows: Vec<_> = (0..2 * 1_440).map(|n| ("s", start + n * 60, n % 60)).collect();
    import(&brooklet, &rows).await;
    let ask = async |brooklet: &Brooklet, (from, to): (i64, i64), more: &str| {
        let range = within((start + from, start + to));
        brooklet.get(&format!("/api/data/series?device_id=d&sensor=s&{range}{more}")).await
    };
    let few = ask(&brooklet, (0, 500 * 60), "").await;
    assert_eq!(told(&few), (500, "raw"));
    assert_eq!((&few["points"][7]["mean"], &few["bucket_seconds"]), (&json!(7.0), &Value::Null));
    let many = ask(&brooklet, (0, 2 * DAY), "").await;
    assert_eq!((told(&many), sum(&many)), ((288, "10m"), 2_880));
    assert_eq!(many["bucket_seconds"], 600.0);
    let first = json!({"time": many["points"][0]["time"], "count": 10, "min": 0.0, "max": 9.0,
        "mean": 4.5, "quality": "good"});
    assert_eq!(many["points"][0], first);
    let coarse = ask(&brooklet, (0, 2 * DAY), "&points=10").await;
    assert_eq!((told(&coarse), sum(&coarse)), ((8, "6h"), 2_880));
    for (resolution, expected) in
        [("1m", (2_880, "1m")), ("5m", (576, "5m")), ("1h", (48, "1h")), ("1d", (2, "1d"))]
    {
        let found = ask(&brooklet, (0, 2 * DAY), &format!("&resolution={resolution}")).await;
        assert_eq!((told(&found), sum(&found)), (expected, 2_880), "{resolution}");
    }
    let raw = ask(&brooklet, (0, 2 * DAY), "&resolution=raw&points=5000").await;
    assert_eq!(told(&raw), (2_880, "raw"));
    let wide = within((today() - 1_200 * DAY, today()));
    let year = within((today() - 365 * DAY, today()));
    for (wrong, status) in [
        ("sensor_id=1&points=1".to_owned(), 422),
        ("sensor_id=1&points=5001".to_owned(), 422),
        ("sensor_id=99".to_owned(), 404),
        ("sensor=s".to_owned(), 422),
        ("device_id=d&sensor=none".to_owned(), 404),
        (format!("sensor_id=1&{wide}"), 422),
        (format!("sensor_id=1&{year}&resolution=1m"), 422),
        (format!("sensor_id=1&{year}&resolution=raw"), 422),
        ("sensor_id=1&resolution=2m".to_owned(), 400),
    ] {
        let path = format!("/api/data/series?{wrong}");
        let answer = brooklet.request(Method::GET, &path, None).await;
        assert_eq!(answer.status, status, "{wrong}: {}", answer.text);
    }

    // Where raw readings are dropped there are hours.
    let variables = [("RETENTION__RAW", "49h")];
    let brooklet = brooklet.restart_with(&variables).await;
    brooklet.logged(|line| line["message"] == "what was too old is dropped").await;
    let found = ask(&brooklet, (0, 6 * 3_600), "").await;
    assert_eq!((told(&found).0, sum(&found)), (6, 360));
    assert_ne!(told(&found).1, "raw");
    assert_eq!(ask(&brooklet, (0, 6 * 3_600), "&resolution=raw").await["points"], json!([]));
}
