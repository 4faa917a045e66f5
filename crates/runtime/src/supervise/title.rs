//! The title of our terminal. The one from before is kept on the terminal's own stack meanwhile (XTWINOPS 22 and 23 of
//! xterm's control sequences); terminals without a stack ignore that.

/// Puts the title of before away and shows `title`. Machine names hold no control characters.
pub(super) fn set(title: &str) -> String {
    format!("\x1b[22;0t\x1b]0;{title}\x07")
}

/// Brings the title of before back.
pub(super) const RESTORE: &str = "\x1b[23;0t";
