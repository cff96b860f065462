//! The program: arguments in, exit code out.

use std::process::ExitCode;

use sluice::{app, cli};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main(std::env::args_os(), cli::Acts { run: app::run, refusals: app::refusals, schema: app::schema, seal: app::seal })
}
