//! What a command line means, and the nonsense that its grammar lets through.

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};
use libdispatch::Position;

use crate::args::{Cli, CodeArgs, Command, ListArgs, LoadArgs, ReorderArgs};

impl Cli {
    /// The command line, or a usage error and exit code 2.
    pub(crate) fn parse_checked() -> Self {
        let cli = Self::parse();
        if let Err((command, message)) = cli.check() {
            let mut grammar = Self::command();
            grammar.build();
            let Some(grammar) = grammar.find_subcommand_mut(command) else {
                unreachable!("{command} was parsed")
            };
            grammar.error(ErrorKind::ArgumentConflict, message).exit();
        }
        cli
    }

    /// What the grammar can't say.
    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        match &self.command {
            Command::Load(args) => args.check().map_err(|message| ("load", message)),
            Command::Reorder(args) => args.check().map_err(|message| ("reorder", message)),
            Command::List(args) => args.check().map_err(|message| ("list", message)),
            Command::Status(_)
            | Command::Show(_)
            | Command::Unload(_)
            | Command::Set(_)
            | Command::Replace(_)
            | Command::Config(_) => Ok(()),
        }
    }
}

impl Command {
    /// Whether it prints a JSON document.
    pub(crate) fn wants_json(&self) -> bool {
        match self {
            Self::Status(args) => args.json,
            Self::List(args) => args.json,
            Self::Show(args) => args.json,
            Self::Load(args) => args.changing.json,
            Self::Unload(args) => args.changing.json,
            Self::Reorder(args) => args.changing.json,
            Self::Set(args) => args.changing.json,
            Self::Replace(args) => args.changing.json,
            Self::Config(args) => args.changing.json,
        }
    }
}

impl LoadArgs {
    fn check(&self) -> Result<(), &'static str> {
        let CodeArgs {
            program,
            map_sizes,
            globals,
            tail_calls,
            frags: _,
        } = &self.code;
        let of_one_object = self.name.is_some()
            || program.is_some()
            || !(map_sizes.is_empty() && globals.is_empty() && tail_calls.is_empty());
        if self.objects.len() > 1 && of_one_object {
            return Err(
                "--name, --program, --map-size, --global and --tail-call say something \
                about one object; load the objects one by one",
            );
        }
        if self.interfaces.0.len() > 1 && self.changing.if_generation.is_some() {
            return Err("--if-generation is about one interface; load on them one by one");
        }
        Ok(())
    }
}

impl ReorderArgs {
    /// Where one member goes; `None` if the names are the whole order.
    pub(crate) fn position(&self) -> Option<Position> {
        if self.first {
            Some(Position::First)
        } else if self.last {
            Some(Position::Last)
        } else if let Some(priority) = self.priority {
            Some(Position::Priority(priority))
        } else if let Some(name) = &self.before {
            Some(Position::Before(name.clone()))
        } else {
            self.after.clone().map(Position::After)
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        match (self.names.len(), self.position()) {
            (1, None) => Err(
                "say where it goes: --priority, --first, --last, --before or --after; \
                or give every member's name in the new order",
            ),
            (2.., Some(_)) => Err(
                "one member moves to a position; several names are the whole \
                order and need none",
            ),
            _ => Ok(()),
        }
    }
}

impl ListArgs {
    fn check(&self) -> Result<(), &'static str> {
        match &self.namespace.netns {
            Some(netns) if netns.contains('/') && self.interface.is_none() => {
                Err("a namespace's path needs an INTERFACE; its name doesn't")
            }
            _ => Ok(()),
        }
    }
}
