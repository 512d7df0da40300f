/** Names for what OpenSSL reports. */

/** RFC 8446, section 6 */
const names = new Map([
  [10, "unexpected_message"],
  [20, "bad_record_mac"],
  [22, "record_overflow"],
  [40, "handshake_failure"],
  [42, "bad_certificate"],
  [43, "unsupported_certificate"],
  [44, "certificate_revoked"],
  [45, "certificate_expired"],
  [46, "certificate_unknown"],
  [47, "illegal_parameter"],
  [48, "unknown_ca"],
  [49, "access_denied"],
  [50, "decode_error"],
  [51, "decrypt_error"],
  [70, "protocol_version"],
  [71, "insufficient_security"],
  [80, "internal_error"],
  [86, "inappropriate_fallback"],
  [90, "user_canceled"],
  [109, "missing_extension"],
  [110, "unsupported_extension"],
  [112, "unrecognized_name"],
  [113, "bad_certificate_status_response"],
  [115, "unknown_psk_identity"],
  [116, "certificate_required"],
  [120, "no_application_protocol"]
])

/** What went wrong in TLS. */
export interface TlsFault {
  /** The remote said so with an alert; otherwise this end found the fault. */
  readonly alerted: boolean
  readonly detail: string
}

/** Reads an error of a TLS socket. */
export const describe = (error: Error): TlsFault => {
  const alert = /SSL alert number (\d{1,3})/.exec(error.message)?.[1]
  if (alert !== undefined) {
    const name = names.get(Number(alert)) ?? "of an unknown kind"
    return { alerted: true, detail: `the remote refused with the TLS alert ${name} (${alert})` }
  }
  const reason: unknown = "reason" in error ? error.reason : undefined
  return { alerted: false, detail: typeof reason === "string" ? reason : error.message }
}
