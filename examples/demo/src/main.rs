//! `make demo`: plimsoll on a real cluster, from nothing to a bad version caught and a good one promoted.

mod place;
mod say;
mod story;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use place::{Ground, NAMESPACE, Place};
use plimsoll_demo::diagnosis::diagnose;
use plimsoll_demo::{images, load, nestjs};
use say::{say, step};
use story::{Story, apply};
use table::Outcome;
use tokio::signal::unix::{SignalKind, signal};

/// The shell's word for "asked for something that cannot be".
const USAGE: u8 = 2;
/// Ended by ctrl-C.
const INTERRUPTED: u8 = 130;
/// Requests a second. `load.yaml` says the same.
const RATE: u32 = 200;
/// How long only version 1 serves, so that there is something to compare with.
const BEFORE: Duration = Duration::from_secs(10);
/// Pods pull, start and become ready.
const DEPLOY_LIMIT: Duration = Duration::from_secs(300);
/// All steps and the bake of `shop.yaml` take about 90 seconds.
const ROLLOUT_LIMIT: Duration = Duration::from_secs(480);

#[tokio::main]
async fn main() -> ExitCode {
    let place = match Place::from_environment() {
        Ok(place) => place,
        Err(error) => {
            eprintln!("demo: {error:#}");
            return ExitCode::from(USAGE);
        }
    };
    say("demo", "times are UTC; ctrl-C ends the demo and takes everything away again");
    let mut ground = Ground::default();
    let result = tokio::select! {
        result = run(&place, &mut ground) => Some(result),
        () = interrupted() => None,
    };
    let mut code = match result {
        Some(Ok(())) => 0,
        Some(Err(error)) => {
            eprintln!("\ndemo: {error:#}");
            1
        }
        None => {
            say("demo", "interrupted");
            INTERRUPTED
        }
    };
    if let Err(error) = ground.clear().await {
        eprintln!("demo: not all could be taken away: {error:#}");
        code = code.max(1);
    }
    // Not by returning: a bed that is still being started would be waited for. It takes itself away when this process is gone.
    std::process::exit(i32::from(code))
}

/// Ctrl-C, or the polite signal of a script.
async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

async fn run(place: &Place, ground: &mut Ground) -> Result<()> {
    ground.prepare(place).await?;
    let result = play(ground).await;
    if result.is_err()
        && let (Ok(cluster), Some(release)) = (ground.cluster(), ground.release())
    {
        eprintln!("\n{}", diagnose(cluster, release, &[NAMESPACE]).await);
    }
    result
}

async fn play(ground: &mut Ground) -> Result<()> {
    let cluster = ground.cluster()?.clone();
    let release = ground.release().context("there is no release")?.clone();
    let pushed = push(&cluster).await?;

    ground.begin_install();
    step("helm", "installing the operator, waiting for its pods", release.install(&cluster, &pushed.operator)).await?;

    say("demo", "version 1: the first one");
    let mut story = Story::begin(&cluster, &pushed.shop[0]).await?;
    let first = story.follow(DEPLOY_LIMIT).await.context("version 1 was not deployed")?;
    let start = load::start(&cluster, NAMESPACE, &pushed.load, RATE);
    step("load", &format!("starting {RATE} requests a second, one connection for each"), start).await?;
    tokio::time::sleep(BEFORE).await;

    say("demo", "version 2: it fails 5% of its requests, and nobody has told plimsoll");
    apply(&cluster, &pushed.shop[1]).await?;
    let second = story.follow(ROLLOUT_LIMIT).await.context("nothing was decided about version 2")?;

    say("demo", "version 3: the fix");
    apply(&cluster, &pushed.shop[2]).await?;
    let third = story.follow(ROLLOUT_LIMIT).await.context("nothing was decided about version 3")?;

    let outcome = Outcome { decisions: [first, second, third], load: load::summary(&cluster, NAMESPACE).await? };
    println!("{}", outcome.table());
    let differences = outcome.differences();
    if !differences.is_empty() {
        bail!("this differs from what the demo promises:\n- {}", differences.join("\n- "));
    }
    say("demo", "as promised: the bad version went back by itself, the good one is in");
    Ok(())
}

/// The images, pushed.
struct Pushed {
    operator: images::Pinned,
    shop: [String; 3],
    load: String,
}

async fn push(cluster: &plimsoll_demo::cluster::Cluster) -> Result<Pushed> {
    let build = async {
        tokio::task::spawn_blocking(|| -> Result<_> {
            let operator = images::build_operator()?;
            let folder = operator.parent().context("the operator's program has no folder")?.join("demo-apps");
            let nestjs = if wants_nestjs() { nestjs::build(&folder)? } else { None };
            Ok((operator, images::build_apps(&folder)?, nestjs))
        })
        .await
        .context("building panicked")?
    };
    let (operator, apps, nestjs) = step("build", "building the operator and the demo's apps (minutes the first time)", build)
        .await
        .map_err(|error: anyhow::Error| error)?;
    let kind = if nestjs.is_some() { "a NestJS app" } else { "a Go program" };
    let cluster = cluster.clone();
    let push = async {
        tokio::task::spawn_blocking(move || -> Result<_> {
            let shop = |version: &str| match &nestjs {
                Some(app) => nestjs::image(app, version).environment("METRICS_PORT", "8080"),
                None => images::shop(&apps, version),
            };
            let first = images::push_shop(&cluster, shop("1"), "1", &[])?;
            let second = images::push_next_shop(&cluster, &first, shop("2"), "2", &[("FAIL_PERCENT", "5")])?;
            let third = images::push_next_shop(&cluster, &first, shop("3"), "3", &[])?;
            Ok(Pushed {
                operator: images::push_operator(&cluster, &operator)?,
                shop: [first, second, third],
                load: images::push_load(&cluster, &apps)?,
            })
        })
        .await
        .context("pushing panicked")?
    };
    step("images", &format!("pushing plimsoll, load, and shop:1, shop:2, shop:3 ({kind})"), push).await
}

/// `DEMO_APP=go` takes the small app also where npm is there.
fn wants_nestjs() -> bool {
    std::env::var_os("DEMO_APP").is_none_or(|app| app != "go")
}
