-- Who has written in the conversations that are there already: one look at each message.
UPDATE "conversations" SET
	"a_wrote" = "wrote"."a",
	"b_wrote" = "wrote"."b"
FROM (
	SELECT "m"."conversation",
		bool_or("m"."sender_id" = "c"."user_a") AS "a",
		bool_or("m"."sender_id" = "c"."user_b") AS "b"
	FROM "messages" "m" JOIN "conversations" "c" ON "c"."number" = "m"."conversation"
	GROUP BY "m"."conversation"
) "wrote"
WHERE "wrote"."conversation" = "conversations"."number";
