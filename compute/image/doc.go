// Package image brings images into the cloud, on the server.
//
// The content of an image is a blob: a qcow2 file without a backing file, named after its digest,
// never changed. Blobs lie in one folder of the server's state; agents fetch them by digest.
//
// An import is an operation, "image.import":
//
//	step     does                                            if we die here
//	obtain   download or build; an upload is there already   it is done again
//	check    checksum, what it is, whether it is hostile     it is done again
//	convert  a standalone qcow2, by a task of this host      the task goes on
//	keep     into the store of blobs                         the blob is found again
//	publish  the commit: the image is ready                  -
//
// What comes is a stranger's. It is judged by its own head, read by our own code, before any
// program may open it: what points at other files (a backing file, an external data file, an
// extent, a parent) is refused, and so is what claims absurd sizes. Formats are always named.
//
// Undone, an import leaves nothing in the staging folder. A blob that no record names goes after
// an hour.
package image
