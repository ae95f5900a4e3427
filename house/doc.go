// Package house keeps the rules of the house as tests: where things live, who may import whom,
// how large things grow, what must be explained. A broken rule is reported as file:line with what
// to do. The rules themselves are told in docs/development.md.
package house
