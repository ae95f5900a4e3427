// Name shows what a person has called something. Whatever is in it, it changes nothing around it.
export function Name({ of }: { of: string | undefined }) {
  return <bdi title={of}>{of && of.length > 80 ? of.slice(0, 80) + '…' : of}</bdi>
}
