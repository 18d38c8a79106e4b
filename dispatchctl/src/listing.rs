//! The commands that only look: `status`, `list`, `show`.

use libdispatch::{Chain, Client};

use crate::{
    args::{ListArgs, ShowArgs, StatusArgs},
    failure::Failure,
    json, output, render,
};

pub(crate) fn status(client: &Client, args: &StatusArgs) -> Result<(), Failure> {
    let status = client.status()?;
    output::print(&if args.json {
        json::status(&status)
    } else {
        render::status(&status)
    })
}

pub(crate) fn list(client: &Client, args: &ListArgs) -> Result<(), Failure> {
    let interface = args.interface.as_deref();
    let mut chains = match interface {
        Some(interface) => client
            .list(interface.into())
            .map_err(Failure::on(interface)),
        None => client.list(None).map_err(Failure::from),
    }?;
    if interface.is_none() {
        chains.retain(|chain| is_in(chain, args.namespace.netns.as_deref()));
    }
    output::print(&if args.json {
        json::list(&chains)
    } else {
        render::list(&chains)
    })
}

/// Without an interface, the daemon lists every namespace.
fn is_in(chain: &Chain, netns: Option<&str>) -> bool {
    netns.is_none() || chain.netns.name.as_deref() == netns
}

pub(crate) fn show(client: &Client, args: &ShowArgs) -> Result<(), Failure> {
    let failed = || Failure::on(&args.interface);
    let detail = client.show(&args.interface, &args.name).map_err(failed())?;
    let chains = client.list(Some(&args.interface)).map_err(failed())?;
    let chain = chains.first();
    output::print(&if args.json {
        json::show(&args.interface, chain, &detail)
    } else {
        render::show(&args.interface, chain, &detail)
    })
}
