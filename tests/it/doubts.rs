//! Submissions whose answer is lost, and what it takes to find out what they bought.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use darkroom::dev::provider::limits::Limits;
use futures::future::join_all;
use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};

use crate::{
    faults::report,
    harness::{Api, bought, job, options, start},
};

/// Ten jobs are in doubt at an account on which much else goes on, and whose list does not say where its entries report to.
#[tokio::test]
async fn doubts_are_settled_with_few_reads_of_a_busy_account() {
    const OTHERS: u32 = 20_000;
    const DOUBTS: u32 = 10;
    let stack = start(&options("busy-account")).await;
    let provider = stack.provider.as_ref().unwrap();
    let within = Duration::from_mins(10);
    provider.has_others(OTHERS, within).unwrap();
    provider.limit(Limits::default());
    let api = Api::of(&stack);
    let lost =
        json!({"answer_status": 504, "answer_html": true, "taken_after_ms": 0, "webhooks": 0});
    let ids = join_all((0..DOUBTS).map(async |_| api.accepted(&job(1, lost.clone())).await)).await;
    for job in join_all(ids.iter().map(|id| api.ended(id))).await {
        assert_eq!(job["status"], "completed", "{job:#}");
    }
    let calls = provider.calls();
    report(&format!(
        "{DOUBTS} doubts beside {OTHERS} predictions of others: {calls:?}"
    ));
    assert_eq!(calls.creates, DOUBTS);
    // Those of the five seconds before are read once, whoever looks.
    let near = OTHERS / u32::try_from(within.as_secs()).unwrap() * 5;
    assert!(calls.reads < 2 * near + 5 * DOUBTS, "{calls:?}");
}

/// Passes on what is sent to it, and lets a connection wait for three seconds: one that finds no room in the listener's queue
/// is tried again by the system after one second and after two more.
fn slow_to_accept(upstream: SocketAddr) -> SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            let until = tokio::time::Instant::now() + Duration::from_secs(1);
            while let Ok(accepted) = tokio::time::timeout_at(until, listener.accept()).await {
                let (mut client, _) = accepted.unwrap();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(upstream).await.unwrap();
                    // Either side may go away.
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        }
    });
    address
}

#[tokio::test]
async fn a_connection_that_takes_seconds_makes_no_doubt() {
    const JOBS: u32 = 10;
    let options = options("slow-connections");
    let stack = start(&options).await;
    let provider = stack.provider.as_ref().unwrap();
    let slow = slow_to_accept(provider.address);
    let connects = (0..5).map(async |_| {
        let began = Instant::now();
        TcpStream::connect(slow).await.unwrap();
        began.elapsed()
    });
    let longest = join_all(connects).await.into_iter().max().unwrap();
    report(&format!("a connection takes up to {longest:.1?}"));
    assert!(longest > Duration::from_secs(1));
    stack.worker.kill();
    let variables = [("REPLICATE_BASE_URL", format!("http://{slow}/v1"))];
    let worker = stack
        .spawn_worker("worker-slow", &options.binary, &variables)
        .unwrap();
    let api = Api::of(&stack);
    let ids = join_all((0..JOBS).map(async |_| api.accepted(&job(1, json!({}))).await)).await;
    for id in &ids {
        let job = api.ended_within(id, Duration::from_mins(3)).await;
        assert_eq!(job["status"], "completed", "{job:#}");
        assert_eq!(bought(Some(provider), id).len(), 1);
    }
    drop(worker);
}
