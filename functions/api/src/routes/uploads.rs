//! `POST /uploads` and, on one machine, `POST /uploads/{upload}`: a workbook on its way to a run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{Multipart, State};
use axum::http::{HeaderMap, StatusCode};
use rowmill_domain::{PipelineName, keys};
use rowmill_ports::{ObjectInfo, Put};
use rowmill_runs::scratch_folder;
use rowmill_split::{NOTIFY_METADATA, SUBMITTER_METADATA};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::access::{Caller, Role};
use crate::problem::Problem;
use crate::request::{Body, InPath, write_id};
use crate::service::{NewObject, Service};

/// The largest workbook that can be uploaded, in bytes: the default of `[input.limits] file_bytes`.
pub const UPLOAD_BYTES: u64 = 1 << 30;

/// The longest name of a file, in bytes: with the rest of its key it is within the limit of S3, and it is
/// a file name on every system.
const NAME_BYTES: usize = 200;

/// What the field of a form for user metadata starts with.
pub const METADATA: &str = "x-amz-meta-";

/// The metadata of an upload that names its pipeline.
pub(crate) const PIPELINE_METADATA: &str = "pipeline";

/// The body of `POST /uploads`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct NewUpload {
    /// The name of the file.
    file: String,
    /// The pipeline that it is for.
    pipeline: String,
    /// The size in bytes.
    size: u64,
}

/// Announces an upload. The answer says where to send the file, as a form.
pub(crate) async fn create(
    State(service): State<Arc<Service>>,
    caller: Caller,
    headers: HeaderMap,
    Body(upload): Body<NewUpload>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    caller.require(Role::Operator)?;
    check_name(&upload.file)?;
    if upload.size > UPLOAD_BYTES {
        return Err(too_large());
    }
    service
        .pipeline_text(&pipeline_name(&upload.pipeline)?)
        .await?;
    let size = upload.size.to_string();
    let id = write_id(&headers, &caller, &[&upload.file, &upload.pipeline, &size])?;
    let mut metadata = BTreeMap::from([
        (PIPELINE_METADATA.to_owned(), upload.pipeline.clone()),
        (SUBMITTER_METADATA.to_owned(), caller.name.clone()),
    ]);
    if caller.name.contains('@') {
        metadata.insert(NOTIFY_METADATA.to_owned(), caller.name.clone());
    }
    let object = NewObject {
        key: keys::upload(&id, &upload.file),
        content_type: content_type(&upload.file),
        upload: id,
        size: upload.size,
        metadata,
    };
    let form = service.host.upload_form(&object).await?;
    let answer = json!({ "upload": object.upload, "url": form.url, "fields": form.fields });
    Ok((StatusCode::CREATED, Json(answer)))
}

/// The media type of a file. A browser would name it too, but the form on AWS fixes it.
fn content_type(file: &str) -> &'static str {
    let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension.to_ascii_lowercase().as_str() {
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "xlsm" => "application/vnd.ms-excel.sheet.macroenabled.12",
        "xlsb" => "application/vnd.ms-excel.sheet.binary.macroenabled.12",
        "xls" => "application/vnd.ms-excel",
        "ods" => "application/vnd.oasis.opendocument.spreadsheet",
        "csv" => "text/csv",
        "tsv" => "text/tab-separated-values",
        _ => "application/octet-stream",
    }
}

/// Reads the name of a pipeline.
pub(crate) fn pipeline_name(text: &str) -> Result<PipelineName, Problem> {
    text.parse().map_err(|_| {
        Problem::invalid(format!(
            "There is no pipeline `{text}`. GET /pipelines lists them."
        ))
    })
}

fn check_name(name: &str) -> Result<(), Problem> {
    let is_plain = |c: char| !c.is_control() && c != '/' && c != '\\';
    let valid = (1..=NAME_BYTES).contains(&name.len())
        && name.chars().all(is_plain)
        && name.trim() == name
        && !name.starts_with('.');
    valid.then_some(()).ok_or_else(|| {
        Problem::invalid(format!(
            "`file` must be the name of a file without a folder, with at most {NAME_BYTES} bytes."
        ))
    })
}

fn is_upload(id: &str) -> bool {
    id.len() == 32
        && id
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn too_large() -> Problem {
    Problem::too_large(format!(
        "A workbook has at most {UPLOAD_BYTES} bytes (1 GiB)."
    ))
}

/// Takes the file, in the form that S3 takes: all fields, then `file`.
pub(crate) async fn receive(
    State(service): State<Arc<Service>>,
    caller: Caller,
    InPath(id): InPath<String>,
    form: Result<Multipart, axum::extract::multipart::MultipartRejection>,
) -> Result<StatusCode, Problem> {
    caller.require(Role::Operator)?;
    if !is_upload(&id) {
        return Err(unknown_upload(&id));
    }
    let mut form = form.map_err(|_| {
        Problem::media_type("The body must be a form with `Content-Type: multipart/form-data`.")
    })?;
    let mut key: Option<String> = None;
    let mut metadata = BTreeMap::new();
    while let Some(field) = form.next_field().await.map_err(broken)? {
        match field.name() {
            Some("file") => {
                let key = key.ok_or_else(|| Problem::invalid("`file` must be the last field."))?;
                let folder = scratch_folder("rowmill-upload-")?;
                let path = folder.path().join("workbook");
                save(field, &path).await?;
                let put = Put {
                    metadata,
                    ..Put::default()
                };
                service.work.upload(&key, &path, put).await?;
                return Ok(StatusCode::NO_CONTENT);
            }
            Some("key") => {
                let text = small(field).await?;
                let file = text.strip_prefix(&keys::upload_prefix(&id));
                check_name(file.ok_or_else(|| {
                    Problem::invalid("`key` must be the one in the answer of POST /uploads.")
                })?)?;
                key = Some(text);
            }
            name => {
                let name = name.and_then(|name| name.strip_prefix(METADATA));
                let name = name.map(str::to_owned);
                let value = small(field).await?;
                metadata.extend(name.map(|name| (name, value)));
            }
        }
    }
    Err(Problem::invalid("The form has no field `file`."))
}

/// Reads a field that is not the file.
async fn small(mut field: Field<'_>) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(broken)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > crate::BODY_BYTES {
            return Err(Problem::too_large("A field of the form is too large."));
        }
    }
    String::from_utf8(bytes).map_err(|_| Problem::invalid("A field of the form is not UTF-8."))
}

async fn save(mut field: Field<'_>, to: &Path) -> Result<(), Problem> {
    let mut file = tokio::fs::File::create(to).await?;
    let mut size = 0;
    while let Some(chunk) = field.chunk().await.map_err(broken)? {
        size += chunk.len() as u64;
        if size > UPLOAD_BYTES {
            return Err(too_large());
        }
        file.write_all(&chunk).await?;
    }
    file.flush().await?;
    Ok(())
}

fn broken(error: MultipartError) -> Problem {
    Problem::invalid(format!("The form cannot be read: {}", error.body_text()))
}

pub(crate) fn unknown_upload(id: &str) -> Problem {
    Problem::not_found(format!(
        "The upload `{id}` does not exist or has no file. POST /uploads starts a new one."
    ))
}

/// The uploaded file.
pub(crate) async fn uploaded(service: &Service, id: &str) -> Result<ObjectInfo, Problem> {
    if !is_upload(id) {
        return Err(unknown_upload(id));
    }
    let (objects, _) = service.work.list(&keys::upload_prefix(id), None).await?;
    objects.into_iter().next().ok_or_else(|| unknown_upload(id))
}
