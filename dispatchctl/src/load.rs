//! The commands that load code: `load`, `replace`.

use std::path::Path;

use libdispatch::{Change, Changed, Client, Error, Program, escape};

use crate::{
    args::{Cli, CodeArgs, LoadArgs, ReplaceArgs},
    changing::{ChangedOn, begin, print},
    connect,
    failure::{Failure, message},
    output::Progress,
};

pub(crate) fn load(cli: &Cli, args: &LoadArgs) -> Result<(), Failure> {
    let interfaces = args.interfaces.0.join(",");
    let programs = args
        .objects
        .iter()
        .map(|object| member(object, args))
        .collect::<Result<Vec<_>, _>>()
        .map_err(Failure::on(&interfaces))?;
    let netns = args.changing.namespace.netns.as_deref();
    let client = connect(cli, netns, Some(&interfaces))?;
    let mut outcomes = Vec::new();
    for interface in &args.interfaces.0 {
        match load_on(&client, interface, &programs, args) {
            Ok(changed) => outcomes.push(ChangedOn {
                interface: interface.clone(),
                changed,
            }),
            Err(error) => {
                if !args.changing.dry_run {
                    put_back(&client, &outcomes);
                }
                return Err(Failure::on(interface)(error));
            }
        }
    }
    print(&outcomes, &args.changing)
}

fn load_on(
    client: &Client,
    interface: &str,
    programs: &[Program],
    args: &LoadArgs,
) -> Result<Changed, Error> {
    let _progress = Progress::show(&format!("{interface}: loading"));
    let mut change = begin(client, interface, &args.changing);
    if let Some(mode) = args.mode {
        change = change.mode(mode);
    }
    programs.iter().fold(change, Change::register).apply()
}

/// Unloads again what was loaded on the interfaces before the one that failed.
fn put_back(client: &Client, outcomes: &[ChangedOn]) {
    for ChangedOn { interface, changed } in outcomes {
        let names = changed.members.iter().map(|member| &member.name);
        let undone = names
            .fold(client.change(interface), Change::unregister)
            .apply();
        if let Err(error) = undone {
            let (interface, error) = (escape(interface), message(&error));
            eprintln!(
                "dispatchctl: {interface}: what was loaded stays: {}",
                escape(&error)
            );
        }
    }
}

pub(crate) fn replace(cli: &Cli, args: &ReplaceArgs) -> Result<(), Failure> {
    let interface = &args.interface;
    let program = code(&args.object, &args.code).map_err(Failure::on(interface))?;
    let netns = args.changing.namespace.netns.as_deref();
    let client = connect(cli, netns, Some(interface))?;
    let progress = Progress::show(&format!("{interface}: loading"));
    let changed = begin(&client, interface, &args.changing)
        .replace(&args.name, &program)
        .apply()
        .map_err(Failure::on(interface))?;
    drop(progress);
    let interface = interface.clone();
    print(&[ChangedOn { interface, changed }], &args.changing)
}

/// A member that stays after this process.
fn member(object: &Path, args: &LoadArgs) -> Result<Program, Error> {
    let mut program = code(object, &args.code)?.kept();
    if let Some(name) = &args.name {
        program = program.name(name);
    }
    if let Some(priority) = args.priority {
        program = program.priority(priority);
    }
    if let Some(verdicts) = args.chain_call {
        program = program.chain_call(verdicts);
    }
    if let Some(verdicts) = args.allowed {
        program = program.allowed(verdicts);
    }
    if let Some(on_miss) = args.on_miss {
        program = program.on_miss(on_miss);
    }
    if let Some(engine) = args.engine {
        program = program.engine(engine);
    }
    if let Some(group) = &args.share_group {
        program = program.share_group(group);
    }
    if let Some(calls) = args.tail_depth {
        program = program.tail_depth(calls);
    }
    Ok(program)
}

/// An object, and how it is loaded.
fn code(object: &Path, args: &CodeArgs) -> Result<Program, Error> {
    let mut program = Program::from_file(object)?;
    if let Some(function) = &args.program {
        program = program.program(function);
    }
    for size in &args.map_sizes {
        program = program.map_size(&size.map, size.entries);
    }
    for global in &args.globals {
        program = program.global(&global.name, global.value.clone());
    }
    for entry in &args.tail_calls {
        program = program.tail_call(&entry.map, entry.index, &entry.function);
    }
    if args.frags {
        program = program.frags();
    }
    Ok(program)
}
