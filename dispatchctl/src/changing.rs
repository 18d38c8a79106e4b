//! The commands that change a chain and load nothing: `unload`, `reorder`, `set`, `config`.

use libdispatch::{Change, Changed, Client, Configuration, Settings};

use crate::{
    args::{ChangingArgs, Cli, ConfigArgs, ReorderArgs, SetArgs, UnloadArgs},
    connect,
    failure::Failure,
    json, output, render,
};

/// What a change of one interface's chain did.
#[derive(Debug)]
pub(crate) struct ChangedOn {
    pub(crate) interface: String,
    pub(crate) changed: Changed,
}

pub(crate) fn unload(cli: &Cli, args: &UnloadArgs) -> Result<(), Failure> {
    change(cli, &args.interface, &args.changing, |change| {
        if args.all {
            return change.unregister_all();
        }
        args.names.iter().fold(change, Change::unregister)
    })
}

pub(crate) fn reorder(cli: &Cli, args: &ReorderArgs) -> Result<(), Failure> {
    change(cli, &args.interface, &args.changing, |change| {
        match args.position() {
            Some(position) => change.reorder(&args.names[0], position),
            None => change.order(&args.names),
        }
    })
}

pub(crate) fn set(cli: &Cli, args: &SetArgs) -> Result<(), Failure> {
    let settings = Settings {
        chain_call: args.chain_call,
        allowed: args.allowed,
        on_miss: args.on_miss,
        lifetime: None,
    };
    change(cli, &args.interface, &args.changing, |change| {
        change.set(&args.name, settings)
    })
}

pub(crate) fn config(cli: &Cli, args: &ConfigArgs) -> Result<(), Failure> {
    let configuration = Configuration {
        final_verdict: args.final_verdict,
        counters: args.counters,
        engine: args.engine,
        mode: args.mode,
    };
    change(cli, &args.interface, &args.changing, |change| {
        change.configure(configuration)
    })
}

/// One change of one chain, and what it did on standard output.
fn change(
    cli: &Cli,
    interface: &str,
    args: &ChangingArgs,
    operations: impl FnOnce(Change<'_>) -> Change<'_>,
) -> Result<(), Failure> {
    let client = connect(cli, args.namespace.netns.as_deref(), Some(interface))?;
    let changed = operations(begin(&client, interface, args))
        .apply()
        .map_err(Failure::on(interface))?;
    let interface = interface.to_owned();
    print(&[ChangedOn { interface, changed }], args)
}

/// A change without an operation yet.
pub(crate) fn begin<'a>(client: &'a Client, interface: &str, args: &ChangingArgs) -> Change<'a> {
    let change = client.change(interface).dry_run(args.dry_run);
    match args.if_generation {
        Some(generation) => change.expect_revision(generation),
        None => change,
    }
}

pub(crate) fn print(outcomes: &[ChangedOn], args: &ChangingArgs) -> Result<(), Failure> {
    output::print(&if args.json {
        json::changes(outcomes, args.dry_run)
    } else if args.dry_run {
        render::dry_run(outcomes)
    } else {
        render::changes(outcomes)
    })
}
