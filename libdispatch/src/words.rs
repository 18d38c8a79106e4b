//! Texts for people. The daemon says them as data, so that programs can match on them; `Display` has
//! the English, one line without its end. Names in it are as others chose them:
//! [`escape`](crate::escape) a line before printing it.

mod note;
mod reason;
mod remedy;
mod step;
mod unreadable;
mod warning;

pub use note::Note;
pub use reason::{EngineReason, ProbeReason};
pub use remedy::Remedy;
pub use step::Step;
pub use unreadable::{PinKind, RegistryFault, Unreadable};
pub use warning::Warning;

/// The public twin of an enum of the wire; a variant without a twin doesn't compile.
macro_rules! twin {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$variant_doc:meta])* $variant:ident $({
            $($(#[$field_doc:meta])* $field:ident: $type:ty,)+
        })?,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant $({ $($(#[$field_doc])* $field: $type,)+ })?,)+
            /// Something that this version of the library doesn't know, by its number.
            Unknown(u32),
        }

        impl From<protocol::$name> for $name {
            fn from(wire: protocol::$name) -> Self {
                match wire {
                    $(protocol::$name::$variant $({ $($field,)+ })? => Self::$variant $({
                        $($field: $field.into(),)+
                    })?,)+
                }
            }
        }

        impl From<protocol::Open<protocol::$name>> for $name {
            fn from(wire: protocol::Open<protocol::$name>) -> Self {
                match wire {
                    protocol::Open::Known(known) => known.into(),
                    protocol::Open::Unknown(unknown) => Self::Unknown(unknown.number()),
                }
            }
        }
    };
}

/// The way back, for what the wire's own side has the words for.
macro_rules! said_as_on_the_wire {
    ($name:ident { $($variant:ident $({ $($field:ident),+ })?,)+ }) => {
        impl From<$name> for protocol::Open<protocol::$name> {
            fn from(twin: $name) -> Self {
                match twin {
                    $($name::$variant $({ $($field),+ })? => Self::Known(protocol::$name::$variant $({
                        $($field: $field.into(),)+
                    })?),)+
                    $name::Unknown(number) => Self::Unknown(protocol::Unknown::numbered(number)),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                protocol::Open::<protocol::$name>::from(self.clone()).fmt(f)
            }
        }
    };
}

use said_as_on_the_wire;
use twin;

/// Every one of a list.
pub(crate) fn all<Wire, Twin: From<Wire>>(wire: Vec<Wire>) -> Vec<Twin> {
    wire.into_iter().map(Twin::from).collect()
}
