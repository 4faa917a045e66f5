//! Tables of verbs: `verbs!` makes of one what clap derives of an enum, but each verb can also be described alone. To describe
//! them all takes longer than most of them do.

/// Makes an enum of verbs. A line has the variant, the verb, other words for it, and the module of `crate::commands` that
/// has its `Arguments` and carries it out. In the brackets behind the enum's name stands what all are given, and behind them
/// what that is.
macro_rules! verbs {
    (@run $module:ident $arguments:ident ($($given:ident),*)) => {
        crate::commands::$module::run($arguments $(, $given)*)
    };
    (
        $(#[$meta:meta])*
        enum $name:ident $given:tt ($($parameter:ident: $type:ty),*) {
            $($variant:ident $verb:literal $([$other:literal])? $module:ident,)*
        }
    ) => {
        $(#[$meta])*
        pub(crate) enum $name {
            $($variant(crate::commands::$module::Arguments),)*
        }

        impl $name {
            /// What this verb takes, or nothing if it is none of these.
            pub(crate) fn describe(verb: &str) -> Option<clap::Command> {
                Some(match verb {
                    $($verb $(| $other)? => {
                        let command = clap::Command::new($verb)$(.visible_alias($other))?;
                        <crate::commands::$module::Arguments as clap::Args>::augment_args(command)
                    })*
                    _ => return None,
                })
            }

            /// Carries it out.
            pub(crate) fn carry_out(
                &self,
                $($parameter: $type),*
            ) -> Result<std::process::ExitCode, crate::failure::Failure> {
                match self {
                    $(Self::$variant(arguments) => verbs!(@run $module arguments $given),)*
                }
            }
        }

        impl clap::FromArgMatches for $name {
            fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
                match matches.subcommand() {
                    $(Some(($verb, below)) => clap::FromArgMatches::from_arg_matches(below).map(Self::$variant),)*
                    _ => Err(clap::Error::new(clap::error::ErrorKind::MissingSubcommand)),
                }
            }

            fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
                Self::from_arg_matches(matches).map(|verb| *self = verb)
            }
        }

        impl clap::Subcommand for $name {
            fn augment_subcommands(command: clap::Command) -> clap::Command {
                command.subcommands([$(Self::describe($verb)),*].into_iter().flatten())
            }

            fn augment_subcommands_for_update(command: clap::Command) -> clap::Command {
                Self::augment_subcommands(command)
            }

            fn has_subcommand(verb: &str) -> bool {
                [$($verb),*].contains(&verb)
            }
        }
    };
}

pub(crate) use verbs;
