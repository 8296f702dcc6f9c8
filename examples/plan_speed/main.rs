//! How long planning 1,000 containers on 100 nodes takes: `cargo run --release --example plan_speed`. Prints
//! milliseconds, the median of 11 runs, for `scripts/bench`.

#![expect(clippy::print_stdout, reason = "this is its result")]

mod made_up;

fn main() {
    let (median, _) = made_up::MadeUp::new().measure(11);
    println!("{:.1}", median.as_secs_f64() * 1000.0);
}
