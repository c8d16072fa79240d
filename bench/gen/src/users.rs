//! The users of the bench: a TSV file of id, access token and conversation.
//! Users 2p and 2p + 1 share a conversation.
use std::fs;

pub struct User {
    pub id: String,
    pub token: String,
    pub conversation: String,
}

/// Reads the file; the users live as long as the process.
pub fn load(path: &str) -> Result<&'static [User], String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let users: Result<Vec<User>, String> = text.lines().map(user).collect();
    Ok(Box::leak(users?.into_boxed_slice()))
}

fn user(line: &str) -> Result<User, String> {
    let mut columns = line.split('\t').map(String::from);
    match (columns.next(), columns.next(), columns.next()) {
        (Some(id), Some(token), Some(conversation)) => Ok(User { id, token, conversation }),
        _ => Err(format!("not a line of id, token and conversation: {line:?}")),
    }
}
