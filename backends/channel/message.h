/*
 * message - writes what an adapter's `send` describes: a JSON, XML or form body, with the signature
 * as its last member where the protocol wants it there.
 */
#ifndef CHANNEL_MESSAGE_H
#define CHANNEL_MESSAGE_H

#include "adapter.h"

/* sign: the signer whose signature is a member of the message; NULL: none is written. f becomes the
 * signer's facts. 0, or -1 with a static *reason. */
int message_write(const struct adapter_message *m, const struct signer *sign, struct facts *f,
                  struct slice *out, const char **reason);

#endif
