// Where things are on a slate, in bytes from its beginning. The program of the last step has these lines, too.

/// All of it.
pub const SIZE: usize = 4096;
/// The number of a process, 4 bytes.
pub const NUMBER: usize = 0;
/// The length of the message, 4 bytes.
pub const LENGTH: usize = 4;
/// The message.
pub const MESSAGE: usize = 8;
/// What kind of message it is, 1 byte.
pub const KIND: usize = MESSAGE;
/// The number of an error in the message, 4 bytes; 0 as long as there is none.
pub const ERROR: usize = MESSAGE + 4;
/// What else the message says.
pub const DETAIL: usize = MESSAGE + 8;

/// The program could not be executed.
pub const NO_PROGRAM: u8 = b'p';
/// A step on the way to it failed.
pub const NOT_STARTED: u8 = b'l';

/// The descriptor of the slate in the program of the last step.
pub const DESCRIPTOR: usize = 3;
/// It is to have the terminal that is standard input.
pub const TERMINAL: u8 = b't';
/// It may be a script without an interpreter.
pub const TEXT: u8 = b's';
