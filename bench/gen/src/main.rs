//! Load generator: opens connections to one server, runs the named scenarios and prints one JSON
//! line for each. See ../README.md.
mod clock;
mod dialect;
mod dialects;
mod frame;
mod histogram;
mod options;
mod phase;
mod scenarios;
mod swarm;
mod sys;
mod usage;
mod users;

use options::Options;
use scenarios::{Bench, dm, fan, http, recovery, storm, typing};

const USAGE: &str = "generator --peer NAME --dialect native|raw|socketio --port N --server-pid N
  --users FILE --scenarios storm,fan-w1,… [--postgres-pid N] [--seconds N] [--round N]
  [--settle SECONDS] [--plain-path PATH] [--query-path PATH]";

fn main() {
    if let Err(reason) = run() {
        eprintln!("generator: {reason}\n{USAGE}");
        std::process::exit(2);
    }
}

fn run() -> Result<(), String> {
    let options = Options::from_arguments()?;
    let bench = Bench {
        peer: options.require("peer")?,
        port: options.require("port")?,
        dialect: dialect::named(&options.require::<String>("dialect")?)?,
        users: users::load(&options.require::<String>("users")?)?,
        probe: usage::Probe {
            server: options.require("server-pid")?,
            postgres: options.get("postgres-pid")?,
        },
        seconds: options.get("seconds")?.unwrap_or(3.0),
        settle: options.get("settle")?.unwrap_or(0.7),
        round: options.get("round")?.unwrap_or(0),
    };
    sys::raise_open_files();
    for scenario in options.require::<String>("scenarios")?.split(',') {
        match scenario {
            "storm" => storm::run(&bench),
            "fan-w1" | "stored-w1" => fan::closed(&bench, scenario, 1),
            "fan-w32" | "stored-w32" => fan::closed(&bench, scenario, 32),
            "fan-fixed" | "stored-fixed" => fan::open(&bench, scenario),
            "dm-500" => dm::closed(&bench, scenario, 500),
            "dm-2000" => dm::closed(&bench, scenario, 2000),
            "dm-open" => dm::open(&bench, scenario),
            "typing" => typing::run(&bench),
            "recovery" => recovery::asking(&bench),
            "recovery-back" => recovery::returning(&bench),
            "http-plain" => http::run(&bench, scenario, &options.require::<String>("plain-path")?),
            "http-query" => http::run(&bench, scenario, &options.require::<String>("query-path")?),
            _ => return Err(format!("no scenario is called {scenario:?}")),
        }
    }
    Ok(())
}
