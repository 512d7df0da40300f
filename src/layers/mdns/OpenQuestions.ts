/**
 * The questions to the local network that are open. All who ask the same share
 * one, and each is told of every answer, also those that came before.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { LocalAnswer } from "../../services/LocalNetwork.ts"
import { mostAnswers } from "./core/Probing.ts"

interface Open {
  readonly found: Array<LocalAnswer>
  readonly askers: Set<Queue.Queue<LocalAnswer>>
}

export interface Options {
  /** Somebody asks a question, and nobody asks it any more. */
  readonly begin: (question: string) => Effect.Effect<void>
  readonly end: (question: string) => Effect.Effect<void>
}

export interface OpenQuestions {
  /** Those that are asked now. */
  readonly texts: () => Iterable<string>
  /** Asks for so long, and gives what is answered. */
  readonly ask: (question: string, wait: Duration.Input) => Stream.Stream<LocalAnswer>
  /** Somebody has answered. Plain code. */
  readonly answered: (question: string, answer: LocalAnswer) => void
}

export const make = ({ begin, end }: Options): OpenQuestions => {
  const open = new Map<string, Open>()

  const join = (question: string) =>
    Effect.gen(function* () {
      const answers = yield* Queue.sliding<LocalAnswer>(mostAnswers)
      const asked = open.get(question) ?? { found: [], askers: new Set() }
      open.set(question, asked)
      for (const one of asked.found) Queue.offerUnsafe(answers, one)
      asked.askers.add(answers)
      yield* begin(question)
      return answers
    })

  const leave = (question: string, answers: Queue.Queue<LocalAnswer>) =>
    Effect.suspend(() => {
      const asked = open.get(question)
      asked?.askers.delete(answers)
      if (asked === undefined || asked.askers.size > 0) return Effect.void
      open.delete(question)
      return end(question)
    })

  return {
    texts: () => open.keys(),
    ask: (question, wait) => {
      const joined = Effect.acquireRelease(join(question), (answers) => leave(question, answers))
      return Stream.unwrap(Effect.map(joined, (answers) => Stream.fromQueue(answers))).pipe(
        Stream.interruptWhen(Effect.sleep(wait))
      )
    },
    answered: (question, answer) => {
      const asked = open.get(question)
      if (asked === undefined || asked.found.length >= mostAnswers) return
      asked.found.push(answer)
      for (const asker of asked.askers) Queue.offerUnsafe(asker, answer)
    }
  }
}
