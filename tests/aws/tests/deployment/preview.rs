//! Previews by the deployed function. ministack cannot run its image, so the test runs its program with
//! the test's own Runtime API and the environment of the deployed function.

use rowmill_tests_aws::deployment::Deployment;
use rowmill_tests_aws::runtime::Function;
use rowmill_tests_local::program::built;
use serde_json::json;

/// Previews by a pipeline's name and by its text, and an invalid one.
pub(crate) async fn previews(deployment: &Deployment) {
    let environment = deployment.environment("enrich").await;
    let enrich = Function::start(&built("enrich-under-test"), &environment).await;

    let review = json!({ "Review ID": "1", "Date": "2026-11-21", "Stars": 5, "Review": "Lovely" });
    let built_in = json!({ "pipeline": "reviews", "rows": [review] });
    let answer = enrich.invoke("built-in", &built_in).await.unwrap();
    assert_eq!(answer["rows"][0]["status"], "ok", "{answer}");
    assert_eq!(
        answer["rows"][0]["values"]["sa_class"], "positive",
        "{answer}"
    );

    // A pipeline in the work bucket.
    let rows = json!([{ "ID": "a", "Amount": 4 }, { "ID": "b", "Amount": 0.5 }]);
    let by_name = json!({ "pipeline": "small", "rows": rows });
    let answer = enrich.invoke("by-name", &by_name).await.unwrap();
    let doubles = answer["rows"].as_array().unwrap().iter();
    let doubles: Vec<_> = doubles
        .map(|row| row["values"]["double"].as_f64())
        .collect();
    assert_eq!(doubles, [Some(8.0), Some(1.0)], "{answer}");

    let unknown = json!({ "pipeline": "nowhere", "rows": rows });
    let error = enrich.invoke("unknown", &unknown).await.unwrap_err();
    let said = error["errorMessage"].as_str().unwrap();
    assert!(said.contains("unknown pipeline `nowhere`"), "{said}");
}
