/** Letters that do not come apart into a Latin one and its marks. */
const LETTERS = new Map(
  (
    'ß=ss ẞ=SS æ=ae Æ=AE œ=oe Œ=OE ø=o Ø=O ł=l Ł=L đ=d Đ=D ð=d Ð=D þ=th Þ=TH ı=i ħ=h Ħ=H ' +
    "’=' ‘=' –=- —=- &=+"
  )
    .split(' ')
    .map((pair) => [pair.slice(0, 1), pair.slice(2)] as const),
)

/**
 * A text in the characters that every bank of the SEPA area takes (EPC217-08): letters without
 * their marks, digits, and `/ - ? : ( ) . , ' +`. What has no likeness among them is left out.
 *
 * @example sepaText('Zoë Müller & Søn') // 'Zoe Muller + Son'
 */
export function sepaText(text: string): string {
  return (
    text
      .replaceAll(/[^A-Za-z0-9]/gu, (letter) => LETTERS.get(letter) ?? letter)
      .normalize('NFD')
      .replaceAll(/[^A-Za-z0-9/\-?:().,'+ ]/gu, '')
      .replaceAll(/ +/g, ' ')
      .trim()
      // A slash at an end, or two of them, are signs of the format itself.
      .replaceAll(/\/{2,}/g, '/')
      .replaceAll(/^\/|\/$/g, '')
  )
}
