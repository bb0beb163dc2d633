//! One process of the benchmark: moves the outputs of its task, and measures itself.

use std::{num::NonZeroUsize, time::Instant};

use darkroom_activities::{
    guard::{Guard, Ports, Resolver},
    persist::{Engine, Memory, Previewer, Sources, budget_lease::BudgetLease, source::Limits},
};
use darkroom_storage::Storage;
use darkroom_workflows::{
    contract::persist::PersistInput,
    job::{JobId, OutputSource, PredictionRef, ProviderName},
};
use futures::{StreamExt, stream};

use super::{Figures, MIB, Mover, STREAM_MAX, Task, baselines::Pipe};

/// Moves the outputs of a task, and prints the figures as JSON.
pub(super) async fn work(task: Task) {
    let storage = Storage::from_env().await.unwrap();
    let host = task
        .source
        .trim_start_matches("http://")
        .trim_end_matches("/?");
    let guard = Guard::new(
        Ports::default(),
        host.parse().unwrap(),
        Resolver::from_system().unwrap(),
    );
    let sources = Sources::new(guard, Limits::of(2048 * MIB)).unwrap();
    let memory = usize::try_from(128 * MIB).unwrap();
    let at_a_time = NonZeroUsize::new(Memory::most_at_a_time(memory)).unwrap();
    let memory = Memory::new(memory, at_a_time);
    let engine = Engine {
        storage,
        memory,
        previewer: Previewer::start().unwrap(),
        stream_max: STREAM_MAX,
    };
    let pipe = Pipe::new(&task);

    let (begin, cpu_before) = (Instant::now(), cpu_seconds());
    match task.mover {
        Mover::Engine | Mover::EngineUnsized => with_engine(&sources, &engine, &task).await,
        Mover::Raw | Mover::Bare => for_each(&task, async |name| pipe.raw(&name).await).await,
        Mover::Plain => for_each(&task, async |name| pipe.plain(&name).await).await,
    }
    let (seconds, cpu_seconds) = (begin.elapsed().as_secs_f64(), cpu_seconds() - cpu_before);
    println!(
        "{}",
        serde_json::to_string(&Figures {
            seconds,
            cpu_seconds,
            peak_mib: peak_mib()
        })
        .unwrap()
    );
}

async fn for_each(task: &Task, work: impl AsyncFn(String)) {
    stream::iter(0..task.load.count)
        .for_each_concurrent(task.load.concurrency, async |index| {
            work(format!("{}-{index}", task.round)).await;
        })
        .await;
}

async fn with_engine(sources: &Sources, engine: &Engine, task: &Task) {
    let job_id: JobId = "01a209ea-1ee1-7280-bf3d-b03044971ad4".parse().unwrap();
    for_each(task, async |name| {
        let lease = loop {
            // Temporal would retry the worker's attempt.
            if let Ok(lease) = BudgetLease::enter(&engine.memory, None).await {
                break lease;
            }
        };
        let url = task.url(&name, task.load.bytes);
        let source = sources.open(&url, None).await.unwrap();
        let prediction_id = "benchmark".parse().unwrap();
        let input = PersistInput {
            job_id,
            tenant: None,
            prediction: PredictionRef::new(ProviderName::Replicate, prediction_id),
            index: name.rsplit('-').next().unwrap().parse().unwrap(),
            source: OutputSource::Url(url),
            name: None,
            output_format: None,
            replace: false,
        };
        engine.store(&input, source, lease).await.unwrap();
    })
    .await;
}

/// Returns the CPU time of this process in user and kernel mode, in seconds.
fn cpu_seconds() -> f64 {
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    let ticks = |field: usize| {
        after_name
            .split(' ')
            .nth(field)
            .unwrap()
            .parse::<f64>()
            .unwrap()
    };
    (ticks(11) + ticks(12)) / TICKS
}

fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<f64>()
        .unwrap()
        / 1024.0
}
