/** Text of others as it may be shown and logged: short, on one line, in order. */

/** Control and formatting characters, lone surrogates, private use, line breaks: they could forge what is shown. */
const unprintable = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/u
const allUnprintable = new RegExp(unprintable, "gu")

/** True when a text can be shown as it is. */
export const isPrintable = (text: string): boolean => !unprintable.test(text)

/** The text, at most so many characters of it; what cannot be shown is replaced. */
export const printable = (text: string, most: number): string => {
  const shown = text.slice(0, 4 * most).replaceAll(allUnprintable, "\u{fffd}")
  const letters = Array.from(shown)
  return letters.length <= most ? shown : `${letters.slice(0, most - 1).join("")}…`
}
