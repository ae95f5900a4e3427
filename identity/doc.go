// Package identity says who may do what: projects own everything a tenant has, tokens prove who
// is asking, join tokens let a new host in once, and the cloud's own certificate authority
// (identity/ca) names hosts and servers.
//
// Nouns: Project, User, Token, Session, JoinToken, Secret. All are written by the API alone, but that the loop of secrets
// wraps them with the newest key. A secret's value is sealed by identity/keyring before it is in a batch,
// and shown by its action reveal alone. A token is stored as the
// SHA-256 of a 256-bit random secret (a fast hash is right for a secret that cannot be guessed).
//
// Invariants: a project with anything in it is not deleted; a join token works once.
package identity
