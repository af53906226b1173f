//! The same path over a real S3 server.

use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutMode, PutPayload};
use wsp_tests::program::{command, finish};
use wsp_tests::s3::S3Server;

#[tokio::test(flavor = "multi_thread")]
async fn merge_and_query_on_s3() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("bucket")).unwrap();
    let server = S3Server::start(folder.path()).await.unwrap();
    let ended = tokio::task::spawn_blocking(move || {
        let store = "s3://bucket/fleet/one";
        let mut generate = command("wsp-datasets");
        generate.args([
            "generate",
            "--images",
            "2",
            "--containers",
            "3",
            "--snapshots",
            "2",
            "--seed",
            "7",
            "--store",
            store,
        ]);
        let _ = finish(server.lead(&mut generate)).ok();
        let mut merge = command("wsp");
        merge.args(["merge", "--json", "--store", store]);
        let report: serde_json::Value =
            serde_json::from_str(&finish(server.lead(&mut merge)).stdout).unwrap();
        assert!(report["admitted"].as_u64().unwrap() > 0, "{report}");
        let mut again = command("wsp");
        again.args(["merge", "--json", "--store", store]);
        let again: serde_json::Value = serde_json::from_str(&finish(server.lead(&mut again)).ok()).unwrap();
        assert_eq!(again["admitted"], 0, "{again}");
        let mut query = command("wsp");
        query.args(["sql", "select count(*) as n from nodes", "--store", store, "--format", "csv"]);
        let answer = finish(server.lead(&mut query)).ok();

        // A wrong secret is an error, not an empty store.
        let mut wrong = command("wsp");
        wrong.args(["sql", "select 1", "--store", store]);
        let wrong = finish(server.lead(&mut wrong).env("AWS_SECRET_ACCESS_KEY", "wrong"));
        (answer, wrong)
    })
    .await
    .unwrap();
    let (answer, wrong) = ended;
    assert!(answer.lines().nth(1).unwrap().parse::<u64>().unwrap() > 0, "{answer}");
    assert_eq!(wrong.code, 1, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("error:"), "{}", wrong.stderr);
}

/// The gate of the test server keeps its promise; without it this fails.
#[tokio::test(flavor = "multi_thread")]
async fn one_writer_wins_a_conditional_put() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("bucket")).unwrap();
    let server = S3Server::start(folder.path()).await.unwrap();
    let mut builder = object_store::aws::AmazonS3Builder::new().with_bucket_name("bucket");
    for (key, value) in server.environment() {
        builder = builder.with_config(key.to_ascii_lowercase().parse().unwrap(), value);
    }
    let store = std::sync::Arc::new(builder.build().unwrap());
    for round in 0..20 {
        let key = Path::from(format!("contested/{round}"));
        let tries = (0..8).map(|writer| {
            let (store, key) = (std::sync::Arc::clone(&store), key.clone());
            tokio::spawn(async move {
                store
                    .put_opts(&key, PutPayload::from(format!("{writer}")), PutMode::Create.into())
                    .await
                    .is_ok()
            })
        });
        let wins =
            futures::future::join_all(tries).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
        assert_eq!(wins, 1, "round {round}");
    }
    assert_eq!(store.get(&Path::from("contested/0")).await.unwrap().bytes().await.unwrap().len(), 1);
}
