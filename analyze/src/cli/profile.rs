//! Finds the profile that a command names, or says what there is instead.

use arrow::array::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::prelude::SessionContext;
use wsp_schemas::image::Workload;
use wsp_schemas::keys::show_time;
use wsp_schemas::text::for_display;

use super::Failure;
use crate::rows::Reader;
use crate::views;

/// Images that are named where the wanted one is not there.
const NEAR: usize = 5;

const PROFILE: &str = include_str!("profile.sql");

/// The row of a profile revision, the newest where none is named; a batch with that row first.
pub(super) async fn find(
    context: &SessionContext,
    workload: &Workload,
    revision: Option<i32>,
) -> Result<RecordBatch, Failure> {
    let parameters = vec![
        ("name", ScalarValue::from(workload.name())),
        ("tag", ScalarValue::from(workload.tag())),
        ("revision", ScalarValue::Int32(revision)),
    ];
    let heads = views::query(context, PROFILE).await?.with_param_values(parameters)?.collect().await?;
    match heads.into_iter().find(|batch| batch.num_rows() > 0) {
        Some(head) => Ok(head),
        None => Err(unknown(context, workload, revision).await?),
    }
}

/// Whether the profile of a found row learns or is stable, and since when.
pub(super) fn status(head: &Reader<'_>) -> String {
    match (head.text("status", 0), head.text("stable_reason", 0), head.time("stable_at", 0)) {
        (Some("stable"), Some(reason), Some(at)) => format!("stable since {} (by {reason})", show_time(at)),
        (Some(status), ..) => status.to_owned(),
        _ => String::new(),
    }
}

/// Images that are in a view.
pub(super) async fn images(context: &SessionContext, view: &str) -> Result<Vec<String>, Failure> {
    let mut images = Vec::new();
    let sql = format!("SELECT DISTINCT image FROM {view} WHERE image IS NOT NULL ORDER BY image");
    for batch in views::query(context, &sql).await?.collect().await? {
        let read = Reader::new(&batch);
        images.extend((0..batch.num_rows()).filter_map(|row| read.text("image", row).map(str::to_owned)));
    }
    Ok(images)
}

/// What to say of images that are there instead of the wanted one: the nearest first.
pub(super) fn near(mut images: Vec<String>, wanted: &str) -> String {
    // Registries and folders are left out by hand more often than names are misspelt.
    let name = |image: &str| image.rsplit('/').next().unwrap_or_default().to_owned();
    let distance = |image: &str| {
        (strsim::damerau_levenshtein(&name(image), &name(wanted)), strsim::damerau_levenshtein(image, wanted))
    };
    images.sort_by_cached_key(|image| distance(image));
    let shown: Vec<String> = images.iter().take(NEAR).map(|image| for_display(image).into_owned()).collect();
    match images.len().saturating_sub(NEAR) {
        _ if images.is_empty() => "the store has no profiles at all: merge snapshots first".to_owned(),
        0 => format!("it has {}", shown.join(", ")),
        more => format!("it has {} and {more} more", shown.join(", ")),
    }
}

/// The error for a profile that is not there, with what is.
async fn unknown(
    context: &SessionContext,
    workload: &Workload,
    revision: Option<i32>,
) -> Result<Failure, Failure> {
    let images = images(context, "profiles").await?;
    let wanted = workload.to_string();
    if images.contains(&wanted) {
        let revision = revision.unwrap_or_default();
        return Ok(Failure::new(format!("the profile {wanted} has no revision {revision}"))
            .hint("leave the revision out for the newest"));
    }
    Ok(Failure::new(format!("the store has no profile of {wanted}")).hint(near(images, &wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_without_its_registry_is_found() {
        let images = || (0..8).map(|n| format!("registry.example/shop/web-{n}:1.1")).collect();
        assert_eq!(
            near(images(), "docker.io/shop/web-3:1.1").split(',').next(),
            Some("it has registry.example/shop/web-3:1.1")
        );
        assert!(near(images(), "nginx:1").ends_with(" and 3 more"));
        assert!(near(Vec::new(), "nginx:1").contains("no profiles at all"));
    }
}
