//! Authentication: password hashes, tokens and throttles.

mod fair;
mod parameters;
mod password;
mod polls;
mod throttle;
mod token;

pub use fair::HashFor;
pub use parameters::HashParameters;
pub use password::PasswordHasher;
pub use polls::PollThrottle;
pub use throttle::{LoginThrottle, SignUpThrottle, ThrottleSettings, network};
pub use token::{Claims, Keys, TokenIssuer, TokenSettings};
