//! `rowmill completions` and `rowmill man`: the command line for shells and for `man`. Both are made from
//! its definition in `args.rs`.

use clap::CommandFactory;

use crate::args::{Cli, CompletionsArgs, ManArgs};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output;

/// The name of the program, whatever the file is called.
const PROGRAM: &str = "rowmill";

/// Prints the script that completes the command line in a shell.
pub(crate) fn completions(args: &CompletionsArgs) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), PROGRAM, &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end());
    Exit::Done
}

/// Writes a man page for the program and one for each command.
pub(crate) fn man(args: &ManArgs) -> Result<Exit, CliError> {
    let to = &args.dir;
    let written =
        std::fs::create_dir_all(to).and_then(|()| clap_mangen::generate_to(Cli::command(), to));
    written.map_err(|e| CliError::failed(format_args!("cannot write to {}", to.display()), e))?;
    output::line(format_args!(
        "the man pages are in {dir}; `man {dir}/{PROGRAM}.1` shows the first",
        dir = to.display()
    ));
    Ok(Exit::Done)
}
