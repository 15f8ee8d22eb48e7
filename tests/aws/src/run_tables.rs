//! DynamoDB for runs of a million records. The items of run tables are kept in this process, because
//! ministack needs an hour for them. All other calls go to ministack. Passes the conformance suite of the
//! port for outcomes.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::http;

/// Bytes of a page of Query. Source: DynamoDB developer guide, "Paginating table query results".
const PAGE_BYTES: usize = 1 << 20;

/// A server in front of ministack. Dropping it stops it.
pub struct RunTables {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

struct Service {
    ministack: String,
    client: reqwest::Client,
    tables: Mutex<HashMap<String, Table>>,
}

/// The items of a table, by partition and sort key in hundred-thousandths.
type Table = HashMap<String, BTreeMap<i64, Value>>;

impl RunTables {
    /// Starts a server in front of ministack at this address.
    pub async fn start(ministack: &str) -> RunTables {
        let service = Arc::new(Service {
            ministack: ministack.to_owned(),
            client: http::client(),
            tables: Mutex::default(),
        });
        let router = Router::new().fallback(serve).with_state(service);
        let router = router.layer(axum::extract::DefaultBodyLimit::max(16 << 20));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        RunTables { address, task }
    }

    /// `http://127.0.0.1:<port>`, for `AWS_ENDPOINT_URL_DYNAMODB`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for RunTables {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(State(service): State<Arc<Service>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|t| t.to_str().ok());
    let call = target.and_then(|t| t.rsplit('.').next()).unwrap_or("");
    let request: Value = serde_json::from_slice(&body).unwrap();
    if let Some(answer) = service.answer(call, &request) {
        return response(200, answer.to_string().into());
    }
    let mut forward = service.client.post(&service.ministack).body(body);
    for (name, value) in &headers {
        if name != "host" && name != "content-length" {
            forward = forward.header(name, value);
        }
    }
    let answer = forward.send().await.unwrap();
    let status = answer.status().as_u16();
    if let Some(name) = request["TableName"].as_str().filter(|_| status == 200) {
        match call {
            "CreateTable" if name.contains("-run-") => {
                service.tables().entry(name.to_owned()).or_default();
            }
            "DeleteTable" => drop(service.tables().remove(name)),
            _ => {}
        }
    }
    response(status, answer.bytes().await.unwrap())
}

fn response(status: u16, body: Bytes) -> Response {
    Response::builder()
        .status(status)
        .header("content-type", "application/x-amz-json-1.0")
        .body(Body::from(body))
        .unwrap()
}

impl Service {
    fn tables(&self) -> MutexGuard<'_, HashMap<String, Table>> {
        self.tables.lock().unwrap()
    }

    /// The answer to a call for items of a run's table; `None` for all other calls.
    fn answer(&self, call: &str, request: &Value) -> Option<Value> {
        let mut tables = self.tables();
        match call {
            "BatchWriteItem" => {
                let (name, writes) = request["RequestItems"].as_object()?.iter().next()?;
                let table = tables.get_mut(name)?;
                for write in writes.as_array()? {
                    put(table, &write["PutRequest"]["Item"]);
                }
                Some(json!({ "UnprocessedItems": {} }))
            }
            "Query" => {
                let table = tables.get(request["TableName"].as_str()?)?;
                Some(query(table, &request["ExpressionAttributeValues"]))
            }
            "UpdateItem" => {
                let table = tables.get_mut(request["TableName"].as_str()?)?;
                Some(add(table, request))
            }
            _ => None,
        }
    }
}

/// The row in hundred-thousandths.
fn sort_key(value: &Value) -> i64 {
    let number: f64 = value["N"].as_str().unwrap().parse().unwrap();
    (number * 1e5).round() as i64
}

fn partition(value: &Value) -> &str {
    value["S"].as_str().unwrap()
}

fn put(table: &mut Table, item: &Value) {
    let rows = table.entry(partition(&item["chunk"]).to_owned());
    let rows = rows.or_default();
    rows.insert(sort_key(&item["row"]), item.clone());
}

/// A page of a partition: the tally, or the rows from `:first` to `:last`.
fn query(table: &Table, values: &Value) -> Value {
    let (chunk, range) = match values.get(":tally") {
        Some(tally) => (tally, i64::MIN..=i64::MAX),
        None => (
            &values[":chunk"],
            sort_key(&values[":first"])..=sort_key(&values[":last"]),
        ),
    };
    let (mut items, mut bytes, mut last) = (Vec::new(), 0, Value::Null);
    for (_, item) in table
        .get(partition(chunk))
        .into_iter()
        .flat_map(|rows| rows.range(range.clone()))
    {
        items.push(item.clone());
        bytes += item.to_string().len();
        if bytes >= PAGE_BYTES {
            last = json!({ "chunk": item["chunk"], "row": item["row"] });
            break;
        }
    }
    let mut answer = json!({ "Count": items.len(), "Items": items });
    if !last.is_null() {
        answer["LastEvaluatedKey"] = last;
    }
    answer
}

/// `ADD name :value, ...` of the tally, whose values have the names of its attributes.
fn add(table: &mut Table, request: &Value) -> Value {
    let key = &request["Key"];
    let rows = table
        .entry(partition(&key["chunk"]).to_owned())
        .or_default();
    let item = rows
        .entry(sort_key(&key["row"]))
        .or_insert_with(|| key.clone());
    for (name, value) in request["ExpressionAttributeValues"].as_object().unwrap() {
        let number = |value: &Value| value["N"].as_str().map_or(0, |n| n.parse::<u64>().unwrap());
        let name = name.trim_start_matches(':');
        let sum = number(&item[name]) + number(value);
        item[name] = json!({ "N": sum.to_string() });
    }
    json!({ "Attributes": item })
}
