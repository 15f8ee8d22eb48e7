//! Which pipeline an upload is for.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use rowmill_domain::{PipelineName, keys, limits};
use rowmill_pipeline::{BUILT_IN, Pipeline, built_in};
use rowmill_runs::WorkBucket;

use crate::error::{OrRefusal, Refusal, SplitError};

/// Maximum number of pipelines that a message lists.
const LISTED: usize = 20;

/// The pipeline of an upload, with the text that the manifest embeds.
pub(crate) struct ResolvedPipeline {
    pub(crate) name: PipelineName,
    pub(crate) toml: String,
    pub(crate) pipeline: Pipeline,
}

/// The pipeline that the inbox folder of `key` names: the file in the work bucket, else the
/// built-in one.
pub(crate) async fn resolve(
    work: &WorkBucket,
    key: &str,
) -> Result<OrRefusal<ResolvedPipeline>, SplitError> {
    let name = keys::file_name(key);
    let Some(folder) = keys::folder(key) else {
        let what =
            format!("{name}: the file is not in a folder; upload it to the folder of a pipeline");
        return Ok(Err(unknown(work, what, None).await?));
    };
    let Ok(pipeline_name) = folder.parse::<PipelineName>() else {
        let what = format!(
            "{name}: the folder name `{folder}` is not a valid pipeline name (lower-case \
             letters, digits and `-`, at most {} characters)",
            limits::PIPELINE_NAME_MAX
        );
        return Ok(Err(unknown(work, what, Some(folder)).await?));
    };
    let file = keys::pipeline(&pipeline_name);
    let found = work.find(&file).await?.map(|body| body.to_vec());
    let Some(text) = found.or_else(|| built_in(folder).map(Into::into)) else {
        let what =
            format!("{name}: the folder is `{folder}`, but there is no pipeline with that name");
        return Ok(Err(unknown(work, what, Some(folder)).await?));
    };
    let correct = |what: String| {
        Refusal::new(
            what,
            format!(
                "Correct {file} in the bucket {} and upload the workbook again.",
                work.name()
            ),
        )
    };
    let Ok(toml) = String::from_utf8(text) else {
        return Ok(Err(correct(format!("{file}: the file is not UTF-8 text"))));
    };
    Ok(match Pipeline::parse(&file, &toml) {
        Ok(pipeline) => Ok(ResolvedPipeline {
            name: pipeline_name,
            toml,
            pipeline,
        }),
        Err(error) => Err(correct(error.one_line())),
    })
}

/// A refusal that lists the existing pipelines.
async fn unknown(
    work: &WorkBucket,
    what: String,
    folder: Option<&str>,
) -> Result<Refusal, SplitError> {
    let mut names: BTreeSet<String> = BUILT_IN
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    let prefix = keys::PIPELINES;
    let objects: Vec<_> = work.list_all(prefix).try_collect().await?;
    names.extend(objects.iter().filter_map(|object| {
        let name = object.key.strip_prefix(prefix)?.strip_suffix(".toml")?;
        PipelineName::is_valid(name).then(|| name.to_owned())
    }));
    let nearest = folder.and_then(|folder| {
        let distance = |name: &String| strsim::damerau_levenshtein(folder, name);
        let nearest = names.iter().min_by_key(|name| distance(name))?;
        (distance(nearest) <= (folder.chars().count() / 3).max(1)).then_some(nearest)
    });
    let meant = nearest.map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
    let mut listed: Vec<&str> = names.iter().take(LISTED).map(String::as_str).collect();
    let more = format!("{} more", names.len() - listed.len());
    if names.len() > listed.len() {
        listed.push(&more);
    }
    Ok(Refusal::new(
        format!("{what}{meant}"),
        format!(
            "Upload the file to the folder of one of these pipelines: {}. To use your own \
             pipeline, first put it at {} in the bucket {}.",
            listed.join(", "),
            format_args!("{}<name>.toml", keys::PIPELINES),
            work.name()
        ),
    ))
}
