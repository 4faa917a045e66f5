//! `--overlay=`, `--overlay-ro=`.
//!
//! Where the container has users of its own, a layer whose owner is none of them is mapped as the tree is. An overlay
//! over a mapped upper layer is mounted from inside the user namespace: mounted with the host's privileges it would be
//! read-only, without a word.

use std::path::{Path, PathBuf};

use spec::{AbsPath, BindSource};

use super::super::{Context, Error, users};
use crate::{
    EphemeralKind, IdLine, LaunchStep, LayerFacts, LayerSource, MountIds, OverlayLayer, OverlayStep, ParentStep,
    SourceNumber, UpperLayer,
};

/// An overlay as it was asked for.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) number: usize,
    pub(super) layers: &'a [BindSource],
    pub(super) destination: &'a AbsPath,
    pub(super) read_only: bool,
}

impl<'a> Wanted<'a> {
    /// All layers that nothing is written to, and the one that is.
    fn split(&self) -> (&'a [BindSource], Option<&'a BindSource>) {
        match self.layers {
            [lower @ .., upper] if !self.read_only => (lower, Some(upper)),
            all => (all, None),
        }
    }

    fn facts<'f>(&self, context: &'f Context<'_>, layer: usize) -> Option<&'f LayerFacts> {
        context.facts.layers.get(self.number)?.get(layer)
    }

    /// Where the upper layer is on the host; absent where it is a temporary one.
    fn upper_path<'f>(&self, context: &'f Context<'_>) -> Option<&'f Path> {
        match self.facts(context, self.layers.len() - 1)? {
            LayerFacts::Later | LayerFacts::Temporary { .. } => None,
            LayerFacts::Present { path, .. } | LayerFacts::Missing { path } => Some(path),
        }
    }

    /// The upper layer is a temporary one, and none fits where those are.
    fn in_memory(&self, context: &Context<'_>) -> bool {
        !self.read_only && self.facts(context, self.layers.len() - 1) == Some(&LayerFacts::Temporary { fits: false })
    }

    fn around(&self, context: &Context<'_>) -> Option<PathBuf> {
        self.upper_path(context).and_then(Path::parent).map(Path::to_owned)
    }
}

/// What is made beside the upper layer.
pub(super) fn parent(context: &Context<'_>, wanted: Wanted<'_>, owner: u32) -> Option<ParentStep> {
    let (number, upper) = (wanted.number, wanted.layers.len() - 1);
    if wanted.read_only {
        let temporary = wanted.layers.get(upper) == Some(&BindSource::Temporary);
        return temporary.then_some(ParentStep::MakeTemporary { number, owner });
    }
    if wanted.in_memory(context) {
        return None;
    }
    let missing = match wanted.facts(context, upper) {
        Some(LayerFacts::Missing { path }) => Some(path.clone()),
        _ => None,
    };
    let beside = wanted.around(context);
    let owner = match (&beside, ids(context, wanted.facts(context, upper))) {
        (None, _) => owner,
        // Who is mapped to the container's root mounts the overlay.
        (Some(_), Some(MountIds::Lines(lines))) => lines.first().map_or(0, |line| line.file_system),
        (Some(_), _) => 0,
    };
    Some(ParentStep::MakeLayers { number, beside, missing, owner })
}

/// What is taken from the host.
pub(super) fn sources(context: &Context<'_>, wanted: Wanted<'_>, steps: &mut Vec<LaunchStep>) {
    let (lower, upper) = wanted.split();
    let mount = wanted.number;
    for (layer, source) in lower.iter().enumerate() {
        match source {
            BindSource::Host(path) => steps.push(LaunchStep::TakeSource {
                path: path.clone(),
                recursive: false,
                number: SourceNumber::Layer { mount, layer },
            }),
            BindSource::Temporary => steps.push(LaunchStep::TakeTemporary(mount)),
            BindSource::Tree(_) => {}
        }
    }
    if upper.is_some() && !wanted.in_memory(context) {
        steps.push(LaunchStep::TakeLayers { number: mount, from: wanted.around(context) });
    }
}

/// What a person should know about it.
pub(super) fn notice(context: &Context<'_>, wanted: Wanted<'_>) -> Option<String> {
    wanted.in_memory(context).then(|| {
        let target = wanted.destination;
        format!(
            "Changes at {target} are kept in memory, until a reboot: no upper layer of an overlay fits in /var/tmp."
        )
    })
}

/// The overlay itself.
pub(super) fn step(context: &Context<'_>, wanted: Wanted<'_>) -> Result<OverlayStep, Error> {
    let (lower, upper) = wanted.split();
    let mount = wanted.number;
    let lower = lower.iter().enumerate().map(|(layer, source)| match source {
        BindSource::Tree(path) => OverlayLayer { source: LayerSource::Inside(path.clone()), ids: None },
        BindSource::Temporary => OverlayLayer { source: LayerSource::Taken(SourceNumber::Temporary(mount)), ids: None },
        BindSource::Host(_) => OverlayLayer {
            source: LayerSource::Taken(SourceNumber::Layer { mount, layer }),
            ids: ids(context, wanted.facts(context, layer)),
        },
    });
    let lower = lower.collect();
    let upper = upper.map(|upper| self::upper(context, wanted, upper)).transpose()?;
    let by_users = matches!(upper, Some(UpperLayer::Host { ids: Some(_), .. }));
    Ok(OverlayStep { lower, upper, target: wanted.destination.clone(), by_users })
}

fn upper(context: &Context<'_>, wanted: Wanted<'_>, source: &BindSource) -> Result<UpperLayer, Error> {
    let facts = wanted.facts(context, wanted.layers.len() - 1);
    let target = wanted.destination.to_string();
    if let BindSource::Tree(path) = source
        && !changes_reach_the_tree(context)
    {
        return Err(Error::UpperInCopy { path: path.to_string(), target });
    }
    let Some(path) = wanted.upper_path(context) else {
        return Ok(if wanted.in_memory(context) { UpperLayer::Memory } else { UpperLayer::Temporary(wanted.number) });
    };
    match (path.file_name(), facts) {
        (None, _) | (_, Some(LayerFacts::Present { own_mount: true, .. })) => {
            Err(Error::UpperIsMount(path.display().to_string()))
        }
        (Some(name), _) => {
            Ok(UpperLayer::Host { number: wanted.number, name: name.to_owned(), ids: ids(context, facts) })
        }
    }
}

/// What is written to the root goes to the tree, where it was found.
fn changes_reach_the_tree(context: &Context<'_>) -> bool {
    let image = context.spec.image();
    let copied = EphemeralKind::ALL.into_iter().any(|kind| context.copies(kind));
    !copied
        && image.volatile == spec::Volatile::No
        && !context.root_read_only()
        && context.facts.tree.template.is_none()
}

/// Files that belong to the container's users already stay theirs; others are mapped as a tree's would be.
fn ids(context: &Context<'_>, facts: Option<&LayerFacts>) -> Option<MountIds> {
    let range = context.user?.range;
    let owner = match facts? {
        LayerFacts::Later | LayerFacts::Temporary { .. } => return None,
        LayerFacts::Present { owner, .. } => *owner,
        // It will be root's.
        LayerFacts::Missing { .. } => 0,
    };
    let fits = owner.checked_sub(range.start()).is_some_and(|inside| inside < range.count());
    let line = IdLine { file_system: users::base(owner), host: range.start(), count: range.count() };
    (!fits).then(|| MountIds::Lines(vec![line]))
}
