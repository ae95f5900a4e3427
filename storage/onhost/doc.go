// Package onhost is the half of storage that runs on a host.
//
// Loops, one for each kind of record that this host's agent answers for:
//
//	backend     Backend    looks at the folder, finds or makes its identity, reports a Device
//	device      Device     takes back devices whose backend is gone
//	imagecopy   ImageCopy  fetches an image's content, or removes it (owner host only)
//	allocation  Allocation makes, grows, removes the volume's file (owner host only)
//	attachment  Attachment opens the volume for one owner, refusing owners of the past
//
// Order: an allocation waits until the content that it is backed by is there; an attachment waits
// until the allocation is ready. Each driver call first compares the place's identity with the
// record's: a share that is not mounted is an empty folder, and nothing is made in it.
//
// If we die in a step, the next look finds either nothing or the whole: files are made beside
// their place and renamed into it. What is found without a record is left alone and reported.
package onhost
