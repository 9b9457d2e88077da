/*
 * callback_health - merchants whose server kept a call waiting lately. Their calls have half of a
 * process's places together, however many they are: the rest is for those who answer.
 *
 * It lasts as long as the process, at most CALLBACK_SUSPECTS_MAX names, the latest; what the
 * database knows of a single callback (it was tried and had no answer) counts beside it.
 */
#ifndef PAYD_CALLBACK_HEALTH_H
#define PAYD_CALLBACK_HEALTH_H

#include "core/arena.h"

#define CALLBACK_SUSPECTS_MAX 1024

struct callback_health;

struct callback_health *callback_health_new(void);
void callback_health_free(struct callback_health *h);
/* A call ended: it kept its place for long, or was answered soon. */
void callback_health_note(struct callback_health *h, struct slice mchid, bool slow);
/* The suspects' names, which live until the next note; NULL with the arena failed. */
const struct slice *callback_health_suspects(const struct callback_health *h, struct arena *a,
                                             size_t *n);

#endif
