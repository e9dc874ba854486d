//! The engine and a store, driven by seeds through crashes, failed commits, foreign changes and
//! clock jumps, with every promise checked after every step.
//!
//! `OUTHAUL_SEED=17 cargo test -p outhaul-core --test simulation` repeats one seed;
//! `OUTHAUL_SIMULATIONS=10000` runs more of them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    unreachable_pub,
    missing_docs,
    reason = "a test stops at the first surprise and says where, and nobody imports it"
)]

#[path = "simulation/book.rs"]
mod book;
#[path = "simulation/chance.rs"]
mod chance;
#[path = "simulation/checks.rs"]
mod checks;
#[path = "simulation/deeds.rs"]
mod deeds;
#[path = "simulation/world.rs"]
mod world;

use world::World;

/// So many seeds in an ordinary run: a few seconds without optimisation.
const SEEDS: u64 = 100;

/// So many steps of each.
const STEPS: usize = 250;

/// Says which seed it was, if the test dies under it.
struct Blame(u64);

impl Drop for Blame {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("repeat with OUTHAUL_SEED={}", self.0);
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn simulate(seed: u64) -> World {
    let _blame = Blame(seed);
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.settle();
    world
}

#[test]
fn every_promise_holds_whatever_happens_in_whatever_order() {
    if let Some(seed) = number("OUTHAUL_SEED") {
        simulate(seed);
        return;
    }
    let mut tasks = 0;
    for seed in 0..number("OUTHAUL_SIMULATIONS").unwrap_or(SEEDS) {
        tasks += simulate(seed).tasks();
    }
    assert!(tasks > 2_000, "only {tasks} tasks were tried");
}

#[test]
fn a_seed_always_leads_to_the_same_life() {
    assert_eq!(simulate(3).story(), simulate(3).story());
    assert_ne!(simulate(3).story(), simulate(4).story());
}
